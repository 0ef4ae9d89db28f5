"""slowproxy completions: each shell itself is asked what it would offer."""
import shutil
import subprocess

import pytest

from objects import BINARY

CASES = [("slowproxy rec", "record"), ("slowproxy record --fo", "--format"), ("slowproxy record -f spe", "speedscope"),
         ("slowproxy top --de", "--delay"), ("slowproxy --slow.thr", "--slow.threshold"), ("slowproxy completions fi", "fish")]


def script(shell):
    run = subprocess.run([BINARY, "completions", shell], capture_output=True, text=True, timeout=20)
    assert run.returncode == 0
    return run.stdout


@pytest.mark.parametrize("line, offered", CASES)
def test_bash(folder, line, offered):
    """bash offers the command, flag, format or key that begins so, and nothing else."""
    asked = f'{script("bash")}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _slowproxy; echo "${{COMPREPLY[@]}}"'
    run = subprocess.run(["bash", "--norc", "-c", asked], capture_output=True, text=True, timeout=20)
    assert run.stdout.strip() == offered and run.stderr == ""


@pytest.mark.skipif(not shutil.which("fish"), reason="SKIPPED: fish is not installed")
@pytest.mark.parametrize("line, offered", CASES)
def test_fish(line, offered):
    """fish offers it with its sentence."""
    run = subprocess.run(["fish", "--no-config", "-c", f"source; complete -C '{line}'"], input=script("fish"), capture_output=True, text=True, timeout=20)
    assert [row.split("\t")[0] for row in run.stdout.splitlines()] == [offered] and run.stderr == ""


@pytest.mark.skipif(not shutil.which("zsh"), reason="SKIPPED: zsh is not installed")
def test_zsh():
    """zsh reads the script without a complaint, and binds it."""
    run = subprocess.run(["zsh", "-f", "-c", f"autoload -U compinit; compinit -u -D\n{script('zsh')}\nprint $_comps[slowproxy]"], capture_output=True, text=True, timeout=20)
    assert run.stdout == "_slowproxy\n" and run.stderr == ""


@pytest.mark.parametrize("arguments", [[], ["tcsh"], ["bash", "zsh"]])
def test_no_such_shell(arguments):
    """Anything else is told what there is."""
    run = subprocess.run([BINARY, "completions", *arguments], capture_output=True, text=True, timeout=20)
    assert run.returncode == 2 and "completions bash|zsh|fish" in run.stderr
