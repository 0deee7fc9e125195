"""``fastnn bench``: fastnn beside its peers and beside what the machine itself can do.

`cases` says what is measured, `peers` holds one module per library with the same functions, `timing` takes the times,
`report` shows them.
"""
