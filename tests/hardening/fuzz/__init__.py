"""Everything that reads bytes of the network, fuzzed: one target for each parser, one for the transactions, one for
the whole engine.

    python3 manage.py test tests.hardening.fuzz                    seeded, seconds; part of every run of the suite
    FUZZ=long python3 manage.py test tests.hardening.fuzz          new inputs each time, many more; ``.ci/run --full``
    python -m tests.hardening.fuzz.guided message -runs=1000000    led by coverage; needs ``pip install atheris``

``seeds``     what is mutated: the torture messages of RFC 4475 and RFC 5118, and phones' own messages
``grammar``   values that are made, not mutated
``targets``   what is called with the bytes, and what must then hold
``kept``      inputs that once broke something, here or in another server; each is a test
"""
