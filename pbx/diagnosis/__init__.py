"""Why a phone does not register and why a call has no sound: evidence, verdicts, their pages and commands."""
