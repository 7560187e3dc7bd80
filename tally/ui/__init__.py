"""The web console of a stage, on loopback: `tally ui`.

Nothing else imports this package: NiceGUI, which it needs, is the extra ``ui``.
"""
