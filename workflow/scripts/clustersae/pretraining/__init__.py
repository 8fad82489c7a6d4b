"""Language models trained here: a module of its own, which nothing else imports."""
