"""Atelier's only entry: sets itself up on a bare Python, then serves the page, runs the tests, or checks the code."""

import sys

USAGE = """python3 app.py [options]         start Atelier (--help lists the options)
python3 app.py test [pytest arguments]   set up for the tests and run them
python3 app.py check                     format, lint, types, layers"""


def main(arguments):
    if sys.version_info < (3, 11):  # noqa: UP036 - said to an older Python, before anything it cannot parse
        print("Atelier needs Python 3.11 or newer; this is %d.%d." % sys.version_info[:2])  # noqa: UP031
        return 2
    from modules import bootstrap

    job = arguments[0] if arguments[:1] in (["test"], ["check"]) else "serve"
    try:
        bootstrap.ensure(arguments, tests=job != "serve")
    except bootstrap.SetupFailed as problem:
        print(problem, file=sys.stderr)
        return 2
    arguments = [word for word in arguments if word != "--no-venv"]
    if job == "serve":
        from modules import serve

        return serve.main(arguments)
    from modules import quality

    return quality.test(arguments[1:]) if job == "test" else quality.check()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
