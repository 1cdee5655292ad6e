"""Print what lets a shell complete the words of nonlocal-i3d: commands, presets, settings and their values.

nonlocal-i3d completion bash > ~/.local/share/bash-completion/completions/nonlocal-i3d
nonlocal-i3d completion zsh > FOLDER_OF_FPATH/_nonlocal-i3d
nonlocal-i3d completion fish > ~/.config/fish/completions/nonlocal-i3d.fish

The script asks this program at each TAB, so it is never out of date.  argcomplete and shtab complete the options
of a parser; our words are key=value.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from flows import commands
from nonlocal_core import command
from nonlocal_core.errors import ConfigError

SCRIPTS = {
    "bash": """_nonlocal_i3d() {
    local IFS=$'\\n' line=${COMP_LINE:0:COMP_POINT}
    COMPREPLY=($("$1" completion words "$line"))
    [[ ${line##* } == *=* ]] && COMPREPLY=("${COMPREPLY[@]#*=}")
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
    return 0
}
complete -o default -F _nonlocal_i3d nonlocal-i3d""",
    "zsh": """#compdef nonlocal-i3d
_nonlocal_i3d() {
    local -a found
    found=(${(f)"$("$words[1]" completion words "${(j: :)words[1,CURRENT]}")"})
    compadd -- ${found:#*=}
    compadd -S '' -- ${(M)found:#*=}
    (( $#found )) || { compset -P '*='; _files }
}
if [[ $funcstack[1] == _nonlocal-i3d ]]; then _nonlocal_i3d "$@"; else compdef _nonlocal_i3d nonlocal-i3d; fi""",
    "fish": "complete -c nonlocal-i3d -a '(nonlocal-i3d completion words (commandline -cp | string collect))'",
}
"""what each shell reads; it offers nothing where a file is meant, so that the shell completes its name"""
SECTIONS = {"describe": ("model", "clip"), "doctor": ("runtime", "train")}
"""the settings of the commands with presets that are no flows"""


def candidates(line: str) -> list[str]:
    """The words that may take the place of the last one of a line; a `key=` goes on with its values."""
    _, *words, typed = line.split(" ")
    name = next(filter(None, words), "")
    possible = list(_words(name)) if name else [command_name for command_name, _, _ in commands.files()]
    if "=" not in typed:  # a key comes before its values
        possible = [f"{word.partition('=')[0]}=" if "=" in word else word for word in possible]
    return [word for word in dict.fromkeys(possible) if word.startswith(typed) and word != typed]


def _words(name: str) -> Iterator[str]:
    """All words that a command knows, settings with each of their values."""
    from flows.catalogue import COMMANDS, LONG_RANGE
    from nonlocal_core.config.presets import PRESETS
    from nonlocal_core.config.tree import settings
    from nonlocal_core.evaluation.ablations import TABLES
    from nonlocal_core.pretrained.table import TABLE

    spec, weights = COMMANDS.get(name), ("champion", *TABLE)
    parameters = spec.parameters if spec else {}
    sections = spec.sections if spec else SECTIONS.get(name, ())
    yield from (f"{key}=" for key in parameters)
    yield from (f"checkpoint={weight}" for weight in weights if "checkpoint" in parameters)
    yield from PRESETS if name in SECTIONS or (spec and spec.has_presets) else ()
    yield from (*TABLES, LONG_RANGE.name) if name == "ablate" else ()
    for setting in settings():
        if setting.section in sections:
            yield from (f"{setting.key}={choice}" for choice in setting.choices or ("",))
    yield from (f"train.init={weight}" for weight in weights if "train" in sections)
    yield from ("list", "show", "get", *TABLE) if name == "pretrained" else ()
    yield from SCRIPTS if name == "completion" else ()
    yield from ("--help", *(word.split()[0] for word in (spec.words if spec else ()) if word.startswith("--")))
    for file in (file for command_name, _, file in commands.files() if command_name == name):
        text = file.read_text(encoding="utf-8")
        yield from ("workspace_dir=",) if re.search(r"command\.add_workspace\(", text) else ()
        yield from re.findall(r'add_argument\(\s*"(--[\w-]+)"', text)
        yield from re.findall(r'subcommand\("(\w+)"', text)


def main(words: list[str]) -> int:
    """The command, and its exit code."""
    parser = command.parser("flows.completion", __doc__)
    parser.add_argument("words", nargs="*", metavar="bash | zsh | fish")
    arguments = parser.parse_args(words).words
    if len(arguments) == 2 and arguments[0] == "words":
        return command.show(candidates(arguments[1]))
    if len(arguments) != 1 or arguments[0] not in SCRIPTS:
        return command.failed(ConfigError(f"name a shell: {', '.join(SCRIPTS)}"))
    print(SCRIPTS[arguments[0]])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
