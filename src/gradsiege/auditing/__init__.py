"""The audit of a user's own federation: what an honest but curious server could see of its clients' pictures.

`call.audit` is `gradsiege.audit` in Python; `gradsiege audit` reads its arguments from files (`inputs`) and calls it. `plan` says
what will run and for how long, `run` computes sealed parts that survive an interruption, `findings` judges them by the rules of
the study, and `page`, `tables` and `document` write what a person, a spreadsheet and a program read.
"""
