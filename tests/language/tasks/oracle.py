"""Slow verifiers in plain Python that see a problem and a completion as text; they share nothing with the library."""

import re

INVALID = "#"  # a special token inside a completion


def final_text(tokenizer, tokens, mask):
    """The characters before the end of sequence, or None without one."""
    text = ""
    for token, written in zip(tokens, mask):
        if not written:
            return None
        if token == tokenizer.eos_id:
            return text
        text += tokenizer.decode([token]) or INVALID
    return None


def _number(text):
    return re.fullmatch(r"0|[1-9]\d*", text) is not None


def _chain(prompt, text):
    total = sum(int(sign + digit) for sign, digit in re.findall(r"([+-])(\d)", prompt)) % 10
    return re.search(r"=(.)$", text) is not None and text[-1] == str(total), r"\d+=\d"


def _calculation(prompt, text):
    return text == str(eval(prompt.rstrip("="))), r"0|[1-9]\d*"


def _sorting(prompt, text):
    return text == "".join(sorted(prompt.rstrip(":"))), r"\d+"


def _parity(prompt, text):
    return text == str(prompt.count("1") % 2), r"[01]"


_EXPRESSION = r"[1-9]\d*([+*-][1-9]\d*)*"


def _countdown(prompt, text):
    numbers, target = prompt.rstrip(":").split("=")
    if not re.fullmatch(_EXPRESSION, text):
        return False, _EXPRESSION
    uses_all = sorted(re.findall(r"\d+", text)) == sorted(numbers.split(" "))
    return uses_all and eval(text) == int(target), _EXPRESSION


_TASKS = {
    "addition": _calculation,
    "chain": _chain,
    "countdown": _countdown,
    "multiplication": _calculation,
    "parity": _parity,
    "sorting": _sorting,
}


def judge(task, prompt, tokens, mask):
    """(right, well formed) of one completion."""
    text = final_text(task.tokenizer, tokens, mask)
    if text is None:
        return False, False
    right, form = _TASKS[task.name](prompt, text)
    return right, re.fullmatch(form, text) is not None


def level(name, prompt):
    """The difficulty of a problem, read from its prompt."""
    if name == "chain":
        return len(re.findall(r"[+-]\d", prompt))
    if name == "countdown":
        return len(prompt.split(" "))
    if name in ("addition", "multiplication"):
        first, second = re.split(r"[+*]", prompt.rstrip("="))
        assert len(first) == len(second)
        assert _number(first)
        assert _number(second)
        return len(first)
    return len(prompt) - 1
