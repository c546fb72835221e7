"""What the notebooks show and ask.

notation     every formula and every letter
cards        a formula beside its code
exercises    a question that grades its answer
problems     what it asks: solutions, inputs, and the mistakes that are made
ladder       what each piece of a GPT is for, in nats
induction    why two layers can do what one cannot
figures      those of the README
notebooks    run them, keep what they printed, compare it
"""
