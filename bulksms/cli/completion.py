"""`bulksms completion`: a script that lets the shell complete commands, options and names of files.

Law: the script asks the program itself each time, which looks at no server, no ledger and no file of settings for it.
"""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish", "powershell")
PROGRAM = "bulksms"


@click.command("completion", epilog="Example: bulksms completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and names of files in this shell.

    Try it with `eval "$(bulksms completion bash)"`; the README says where each shell keeps it.
    """
    script = get_completion_class(shell)
    if script is not None:
        group = context.find_root().command
        click.echo(script(group, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source(), nl=False)
