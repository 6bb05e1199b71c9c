"""`bulksms completion`: a script that lets the shell complete commands, options and names of files.

Law: the script asks the program itself each time, which looks at no server, no ledger and no file of settings for it.
"""

import click
from click.shell_completion import BashComplete, FishComplete, PowerShellComplete, ZshComplete

SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete, "powershell": PowerShellComplete}
PROGRAM = "bulksms"


@click.command("completion", epilog="Example: bulksms completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that completes commands, options and names of files in this shell.

    Try it with `eval "$(bulksms completion bash)"`; the README says where each shell keeps it.
    """
    script = SHELLS[shell](context.find_root().command, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE")
    click.echo(script.source(), nl=False)
