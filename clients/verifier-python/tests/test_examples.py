"""The examples, called as verl, TRL and NeMo-RL call them, and the README's lines."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parents[1]
RIGHT, WRONG = "so \\boxed{\\frac{2}{4}}", "so \\boxed{3}"


def load(name: str) -> ModuleType:
    """As verl loads a file."""
    spec = importlib.util.spec_from_file_location("custom_module", HERE / "examples" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_verl() -> None:
    verl = load("verl_reward")
    one = verl.compute_score(data_source="math", solution_str=RIGHT, ground_truth="1/2", extra_info={"index": 0})
    assert one == {"score": 1.0, "pred": "\\frac{2}{4}", "fault": 0.0}
    several = verl.compute_scores(
        data_sources=["math"] * 2,
        solution_strs=[RIGHT, WRONG],
        ground_truths=["1/2", "1/2"],
        extra_infos=[None, None],
        fractions="reduced",
    )
    assert [reward["score"] for reward in several] == [0.0, 0.0]


def test_trl() -> None:
    trl = load("trl_reward")
    talk = [[{"role": "assistant", "content": RIGHT}], [{"role": "assistant", "content": WRONG}]]
    for completions in ([RIGHT, WRONG], talk):
        rewards = trl.exact_answer(completions=completions, prompts=["", ""], solution=["1/2", "1/2"], trainer_state=None)
        assert rewards == [1.0, 0.0]
    assert trl.exact_answer(completions=[RIGHT], answer=["0.5"]) == [1.0]


def test_nemo_rl() -> None:
    worker = load("nemo_rl_worker").ExactVerifyWorker()
    assert worker.verify([RIGHT, WRONG], ["1/2", "1/2"], False, "hf_math_verify") == [1.0, 0.0]
    assert worker.verify([RIGHT, "?"], ["1/2", "1/2"], True) == ([1.0, 0.0], ["\\frac{2}{4}", None])
    worker.grader.close()


def test_the_lines_of_the_readme_give_what_they_say() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```", (HERE / "README.md").read_text("utf-8"), flags=re.M | re.S)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["scores"] == [1.0, 0.0]
    said = re.findall(r"^(?!from|with|    )(.+?)\s+# (True|'.*'|\[.*\])$", code, flags=re.M)
    assert len(said) == 3
    for expression, value in said:
        assert repr(eval(expression, names)) == value, expression


def test_the_guide_gives_what_it_says() -> None:
    guide = (HERE.parents[1] / "docs" / "grader.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", guide, flags=re.M | re.S)
    names: dict[str, object] = {}
    exec(code, names)
    said = re.findall(r"^(?!from|with|    )(.+?)\s+# (.+)$", code, flags=re.M)
    assert len(said) == 2
    for expression, value in said:
        assert repr(eval(expression, names)) == value, expression
