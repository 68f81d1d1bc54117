"""What all sides start from: the same ids as in bench/src/engine.rs and bench/src/model.rs."""

END_MARKER = [3, 4, 3, 4]
SUMMARY_MARKER = [5, 6, 5, 6]
FIRST_ORDINARY_ID = 20


def prompt_ids(number, length, vocabulary):
    size = vocabulary - FIRST_ORDINARY_ID
    return [
        FIRST_ORDINARY_ID + (7919 * (number + 1) + 104_729 * place + 31 * place * place) % size
        for place in range(length)
    ]
