from __future__ import annotations

import pytest

from topwork.reporting.pages import _inline


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Try `svm.C=[1]`.", "Try <code>svm.C=[1]</code>."),
        ("class `<b>`", "class <code>&lt;b&gt;</code>"),
        ("<script>", "&lt;script&gt;"),
        ("90.6 % of them", "90.6\u00a0% of them"),
        ("an odd ` sign", "an odd ` sign"),
    ],
)
def test_sentences_become_text_of_a_page_and_never_markup(text: str, shown: str) -> None:
    assert str(_inline(text)) == shown
