"""Compiles the copy of the SIP core that lies in the current directory, each module in its place:

    python pbx/compiling.py MODULE.py ...

Run by ``manage.py compile`` in a process of its own, because setuptools takes its orders from the command line and
changes the process it runs in. Nothing but mypyc and setuptools is imported."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mypyc.build import mypycify
from setuptools import setup
from setuptools.command.build_ext import build_ext

CORES = len(os.sched_getaffinity(0))


class BuildOnAllCores(build_ext):
    """All modules are one library, whose files setuptools would compile one after the other."""

    def build_extensions(self):
        compile_some = self.compiler.compile
        with ThreadPoolExecutor(CORES) as cores:

            def compile_all(sources, **options):
                each = partial(compile_some, **options)
                return [name for names in cores.map(lambda source: each([source]), sources) for name in names]

            self.compiler.compile = compile_all
            super().build_extensions()


def main(modules: list[str]) -> None:
    setup(
        name="pbx_core", packages=[], cmdclass={"build_ext": BuildOnAllCores},
        ext_modules=mypycify(modules, opt_level="2", debug_level="0", multi_file=True),
        script_name=sys.argv[0], script_args=["--quiet", "build_ext", "--inplace", "--parallel", str(CORES)],
    )


if __name__ == "__main__":
    main(sys.argv[1:])
