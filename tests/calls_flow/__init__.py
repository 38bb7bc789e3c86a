"""How calls go on the wire: the scenarios are mixins, played in memory by ``tests.engine.test_calls_*`` and against a
real ``runsip`` with a media engine by the tests here."""
