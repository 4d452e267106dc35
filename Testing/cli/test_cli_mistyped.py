"""What is mistyped is guessed at, and the help that is named is that of the command at hand."""

from __future__ import annotations

import pytest

from MedImageParseLib.cli.main import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("segmnt a.png", "There is no command 'segmnt'; did you mean segment?"),
        ("--verison", "Unknown --verison; did you mean --version? Otherwise see `{} --help`."),
        ("index ad x", "There is no index command 'ad'; did you mean add? See `{} index --help`."),
        ("index", "The following arguments are required: WHAT; see `{} index --help`."),
        ("profiles lst", "There is no profiles command 'lst'; did you mean list? See `{} profiles --help`."),
        ("index add x a.png --endpont=u", "Unknown --endpont; did you mean --endpoint? Otherwise see `{} index add --help`."),
        ("index add x --endpont u", "Unknown --endpont; did you mean --endpoint? Otherwise see `{} index add --help`."),
        ("segment a.png --modle medimageparse", "Unknown --modle; did you mean --model? Otherwise see `{} segment --help`."),
        (
            "segment a.png --model medimageparse4d",
            "Argument --model: there is no choice 'medimageparse4d'; did you mean medimageparse3d? It takes ",
        ),
        ("batch submit-azure --profil x", "Unknown --profil; did you mean --profile? Otherwise see `{} batch submit-azure --help`."),
        ("check --ky SECRET", "Unknown --ky; see `{} check --help`."),
        ("index SECRET-of-twenty-letters", "There is no index command; the commands are add, "),
        ("segment a.png b.png --model medimageparse", "There are too many words: segment takes one image, and `batch` takes several"),
    ],
)
def test_a_mistyped_word_is_guessed_at_in_one_sentence_and_no_secret_is_repeated(words, said, capsys):
    assert main(words.split()) == 2
    output = capsys.readouterr()
    assert output.err.startswith("error: " + said.format("medimageparse")) and output.err.count("\n") == 1
    assert output.out == "" and "SECRET" not in output.err
