"""The rows of the ledger's grid, by the promise that each keeps. ledger_grid.py explains their language and plays them."""

from __future__ import annotations

ROWS = {
    # --- moving -----------------------------------------------------------------------------------------------
    "a move takes from one account and gives to the other": """
        give pool 100
        move m pool > owed/1 30 => done
        pool is 70
        owed/1 is 30
        operator is -100""",
    "a guarded account gives its last millisat and not one more": """
        give pool 100
        move m pool > owed/1 101 => short pool
        pool is 100
        owed/1 is 0
        move m pool > owed/1 100 => done
        pool is 0
        move n pool > owed/1 1 => short pool""",
    "an account that was never given anything has nothing": """
        move m session/1 > revenue 1 => short session/1
        move n session/1 > revenue 0 => done
        session/1 is 0""",
    "lightning, the operator, fees and losses may go below zero": """
        move a lightning > job/1 5 as payment_received => done
        move b operator > job/1 5 => done
        move c routing_fees > job/1 5 => done
        move d house_loss > job/1 5 => done
        job/1 is 20""",
    "moving nothing is moving, and is remembered": """
        move m pool > owed/1 0 => done
        move m pool > owed/1 1 => transfer_conflict
        pool is 0""",
    "an account does not pay itself": """
        give pool 10
        move m pool > pool 1 => breach
        reserve r pool > pool 1 => breach
        all n pool > pool => breach
        pool is 10""",
    # --- the same id again ------------------------------------------------------------------------------------
    "an id that means something else is a conflict, whatever differs": """
        give pool 100
        give job/1 100
        move m pool > owed/1 30 => done
        move m pool > owed/1 31 => transfer_conflict
        move m pool > owed/2 30 => transfer_conflict
        move m job/1 > owed/1 30 => transfer_conflict
        move m pool > owed/1 30 as owed_back => transfer_conflict
        reserve m pool > owed/1 30 => transfer_conflict
        pool is 70
        owed/1 is 30""",
    "a replay needs no funds: it was paid for the first time": """
        give pool 30
        move m pool > owed/1 30 => done
        pool is 0
        move m pool > owed/1 30 => done
        pool is 0
        owed/1 is 30""",
    "a refused id is free again": """
        move m pool > owed/1 30 => short pool
        give pool 50
        move m pool > owed/1 20 => done
        pool is 30""",
    "the same unit twice in one group is applied once": """
        give pool 100
        move m pool > owed/1 60 ; move m pool > owed/1 60 => done, done
        pool is 40
        reserve r pool > owed/1 40 ; reserve r pool > owed/1 40 => done, done
        pool is 40 40
        post r 10 ; post r 10 => done, done
        pool is 30
        owed/1 is 70""",
    "the same entry twice in one unit is applied once": """
        give pool 10
        move m pool > owed/1 10 + move m pool > owed/1 10 => done
        owed/1 is 10""",
    "one id with two contents in one group is a conflict and moves nothing": """
        give pool 100
        move m pool > owed/1 1 ; move m pool > owed/1 2 => transfer_conflict
        pool is 100""",
    # --- two phases -------------------------------------------------------------------------------------------
    "a reservation is out of reach at once and still there": """
        give pool 100
        reserve r pool > revenue 70 => done
        pool is 100 70
        revenue is 0
        move m pool > owed/1 31 => short pool
        reserve s pool > revenue 31 => short pool
        move m pool > owed/1 30 => done
        pool is 70 70""",
    "what was reserved can be posted when the account has nothing else left": """
        give pool 100
        reserve r pool > revenue 70 => done
        move m pool > owed/1 30 => done
        post r => done
        pool is 0
        revenue is 70""",
    "posting a part gives the rest back": """
        give pool 100
        reserve r pool > revenue 70 => done
        post r 25 => done
        pool is 75
        revenue is 25
        move m pool > owed/1 75 => done""",
    "posting nothing resolves the reservation too": """
        give pool 100
        reserve r pool > revenue 70 => done
        post r 0 => done
        void r => transfer_conflict
        pool is 100""",
    "voiding gives all of it back": """
        give pool 100
        reserve r pool > revenue 70 => done
        void r => done
        pool is 100
        revenue is 0
        move m pool > owed/1 100 => done""",
    "nothing more than what was reserved can be posted": """
        give pool 100
        reserve r pool > revenue 70 => done
        post r 71 => breach
        pool is 100 70
        post r 70 => done
        pool is 30""",
    "a reservation is resolved once: posted, it cannot be voided": """
        give pool 100
        reserve r pool > revenue 70 => done
        post r => done
        void r => transfer_conflict
        post r 69 => transfer_conflict
        post r 70 => done
        revenue is 70""",
    "a reservation is resolved once: voided, it cannot be posted": """
        give pool 100
        reserve r pool > revenue 70 => done
        void r => done
        post r => transfer_conflict
        post r 0 => transfer_conflict
        pool is 100""",
    "post and void in one group: neither wins, they contradict each other": """
        give pool 100
        reserve r pool > revenue 70 => done
        post r ; void r => transfer_conflict
        pool is 100 70
        post r + void r => transfer_conflict
        pool is 100 70""",
    "what is not a reservation cannot be resolved": """
        give pool 100
        post nothing => unknown_reservation
        void nothing => unknown_reservation
        move m pool > owed/1 30 => done
        post m => unknown_reservation
        void m => unknown_reservation
        reserve r pool > revenue 10 => done
        post r => done
        void r! => unknown_reservation
        pool is 60""",
    "a reservation of nothing is a reservation": """
        reserve r pool > revenue 0 => done
        post r => done
        void r => transfer_conflict
        reserve s pool > revenue 0 => done
        void s => done""",
    "an account that may go below zero may reserve below zero": """
        reserve r operator > pool 50 => done
        operator is 0 50
        post r 20 => done
        operator is -20
        pool is 20""",
    "several reservations on one account are kept apart": """
        give pool 100
        reserve a pool > revenue 40 => done
        reserve b pool > owed/1 40 => done
        reserve c pool > revenue 21 => short pool
        pool is 100 80
        void a => done
        pool is 100 40
        reserve c pool > revenue 21 => done
        post b => done
        pool is 60 21
        owed/1 is 40""",
    # --- all or nothing ---------------------------------------------------------------------------------------
    "a unit of several entries is all or nothing": """
        give pool 100
        give job/1 10
        move a pool > owed/1 100 + move b job/1 > owed/1 11 => short job/1
        pool is 100
        job/1 is 10
        owed/1 is 0
        move a pool > owed/1 100 + move b job/1 > owed/1 10 => done
        owed/1 is 110""",
    "a unit may pass money on within itself": """
        give pool 100
        move a pool > job/1 100 + reserve r job/1 > revenue 80 => done
        job/1 is 100 80
        post r 50 + all b job/1 > owed/1 => done
        job/1 is 50
        revenue is 50""",
    "a unit may reserve, post and void in one breath": """
        give pool 100
        reserve r pool > revenue 70 + post r 30 => done
        pool is 70
        revenue is 30
        reserve s pool > revenue 70 + void s => done
        pool is 70""",
    "a unit that was half done before does its other half only": """
        give pool 100
        move a pool > owed/1 10 => done
        move a pool > owed/1 10 + move b pool > owed/2 20 => done
        pool is 70
        owed/1 is 10
        owed/2 is 20""",
    "a unit that contradicts an earlier one does nothing, not even its new entries": """
        give pool 100
        move a pool > owed/1 10 => done
        move b pool > owed/2 20 + move a pool > owed/1 11 => transfer_conflict
        pool is 90
        owed/2 is 0""",
    # --- groups -----------------------------------------------------------------------------------------------
    "in a group the first come are the first served, and the refused harm nobody": """
        give pool 100
        move a pool > owed/1 60 ; move b pool > owed/2 60 ; move c pool > owed/3 40 => done, short pool, done
        pool is 0
        owed/1 is 60
        owed/2 is 0
        owed/3 is 40""",
    "in a group a refused unit leaves no trace of its other accounts": """
        give pool 100
        give job/1 50
        move a job/1 > owed/1 50 + move b pool > owed/1 101 ; move c job/1 > owed/2 50 ; move d pool > owed/2 100 => short pool, done, done
        owed/1 is 0
        owed/2 is 150
        job/1 is 0""",
    "in a group a later unit may spend what an earlier one brought": """
        move b pool > owed/1 10 ; move a operator > pool 10 ; move c pool > owed/1 10 => short pool, done, done
        owed/1 is 10""",
    "in a group a reservation may be made and resolved": """
        give pool 100
        reserve r pool > revenue 70 ; post r 50 ; move m pool > owed/1 50 => done, done, done
        pool is 0
        revenue is 50""",
    "in a group what was freed may be reserved again": """
        give pool 100
        reserve r pool > revenue 100 => done
        reserve s pool > revenue 1 ; void r ; reserve t pool > revenue 100 => short pool, done, done
        pool is 100 100""",
    "a resolution of what was refused in the same group resolves nothing": """
        reserve r pool > revenue 70 ; post r => unknown_reservation
        pool is 0""",
    "the refused unit may be asked for again in the same group": """
        move m pool > owed/1 10 ; move g operator > pool 10 ; move m pool > owed/1 10 => short pool, done, done
        owed/1 is 10""",
    "units without entries are done": """
        give pool 10
        move a pool > owed/1 4 ; move a pool > owed/1 4 + move b pool > owed/1 6 => done, done
        pool is 0""",
    # --- all there is -----------------------------------------------------------------------------------------
    "all that is there means whole sats: the remainder stays": """
        give job/1 12345
        all m job/1 > owed/1 => done
        job/1 is 345
        owed/1 is 12000""",
    "all that is there excludes what is reserved": """
        give job/1 12345
        reserve r job/1 > revenue 2000 => done
        all m job/1 > owed/1 => done
        job/1 is 2345 2000
        owed/1 is 10000""",
    "all that was there is not taken again from what came later": """
        give job/1 5000
        all m job/1 > owed/1 => done
        give job/1 7000
        all m job/1 > owed/1 => done
        job/1 is 7000
        all n job/1 > owed/1 => done
        owed/1 is 12000""",
    "all of less than a sat is nothing": """
        give job/1 999
        all m job/1 > owed/1 => done
        job/1 is 999
        all n job/2 > owed/2 => done
        owed/2 is 0""",
    "all of an account below zero is nothing": """
        move m operator > pool 5000 => done
        all n operator > pool => done
        operator is -5000
        pool is 5000""",
    "all that is there, asked twice in a group, is taken once": """
        give job/1 5000
        all m job/1 > owed/1 ; all m job/1 > owed/1 ; all n job/1 > owed/2 => done, done, done
        owed/1 is 5000
        owed/2 is 0""",
    "all to another account by the same id is a conflict": """
        give job/1 5000
        all m job/1 > owed/1 => done
        all m job/1 > owed/2 => transfer_conflict
        owed/1 is 5000""",
    # --- limits -----------------------------------------------------------------------------------------------
    "every coin there is can be moved and reserved": """
        give pool max
        reserve r pool > revenue max => done
        pool is max max
        move m pool > owed/1 1 => short pool
        post r => done
        revenue is max
        operator is -max""",
    "no account holds more coins than there are": """
        give pool max
        move l lightning > job/1 max as payment_received => done
        move m job/1 > pool max => breach
        pool is max
        job/1 is max
        move n job/1 > pool 1 => breach
        move o job/1 > owed/1 max => done""",
    "no account reserves more coins than there are, not even one that may go below zero": """
        reserve r operator > pool max => done
        reserve s operator > pool 1 => breach
        operator is 0 max
        void r => done""",
    "no account owes more coins than there are": """
        give pool max
        move m operator > job/1 1 => breach
        move n lightning > job/1 1 as payment_received => done
        operator is -max""",
    "what is not on the chart is no account": """
        give pool 10
        move m pool > nowhere 1 => unknown_account
        move m nowhere > pool 1 => unknown_account
        reserve r pool > job/ 1 => unknown_account
        reserve r pool > jobs/1 1 => unknown_account
        all n pool > house-loss => unknown_account
        pool is 10""",
}
