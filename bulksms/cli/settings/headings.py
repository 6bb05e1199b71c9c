"""The headings under which `--help` shows the options of a command that has many.

Law: an option stands under the heading of the group in `bulksms.cli.settings.options` that has it by name, whichever
command it is of; what no group has is the command's own, and stands first.
"""

import click

from bulksms.cli.settings.options import endpoint_options, input_options, look_up_options, run_options, talk_options

OWN = "Options"
GROUPS = {
    "Input": input_options,
    "Recipients looked up": look_up_options,
    "Endpoint": endpoint_options,
    "Pace and safety": run_options,
    "Output and logs": talk_options,
}
"""Each heading and what stands under it, in the order of the help."""
COLUMN = 24
"""Characters for an option; the explanation of a longer one begins in the next line."""


class HeadedCommand(click.Command):
    """A command whose help shows its options under headings, one below the other."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, with a section a heading; all of them have the same column."""
        headings = {name: heading for heading, names in names_by_heading().items() for name in names}
        sections: dict[str, list[tuple[str, str]]] = {heading: [] for heading in (OWN, *GROUPS)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                option, explanation = record
                sections[headings.get(parameter.name or "", OWN)].append((option.ljust(COLUMN), explanation))
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records, col_max=COLUMN)


def names_by_heading() -> dict[str, list[str]]:
    """The names of the options that each group has."""
    return {
        heading: [parameter.name or "" for parameter in click.command()(group(lambda: None)).params]
        for heading, group in GROUPS.items()
    }
