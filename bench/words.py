"""What the page says around its figures."""

HEAD = """\
<!-- Made by bench/run.py: do not edit. -->

# Performance

Measured by [`bench/`](../../bench/run.py), on the machine that is named below. `./run bench` does it again on yours and rewrites
this page; `./run bench hot`, `pool`, `jobs`, `sessions`, `gateway`, `memory` and `world` do one part, `--quick` only shows that it works.

Absolute figures move with the machine and with its neighbours: **the ratios are what is claimed**. Both sides of a ratio ran in the
same run, taking turns, each turn a fresh process on a fresh database with `fsync` and `synchronous_commit` on (SQLite: WAL and
`synchronous=FULL`); a ratio is computed per repetition, and shown as the median (least–most). After each turn the ledger is
audited, whoever wrote to it: a turn that lost or made a millisat counts for nothing and ends the run.

*CPU* is what one thing done costs, in the processes that ask + in PostgreSQL. *Foreign* is how many cores were busy with what was
neither; a row with a `*` had half a core of that or more, and is rough. Everything is a closed loop, so latencies compare only
between rows with the same number of callers. HTTP is in the figures of the last two parts only.
"""

HOT = """
## One hot account

Every caller reserves from the same account and posts what was reserved, as two commits, again and again. A *pair* is both.
*Interactive* is the usual way: `BEGIN`, `SELECT … FOR UPDATE`, decide in Python, `UPDATE`, `INSERT`, `COMMIT`, twice, on the same
tables with the same driver. *pgbench* is PostgreSQL's own load generator calling functions inside the server that do the same with
the same guarantees and no round trips in between ([functions.sql](../../bench/hot/functions.sql)): once as two commits, which is
what a pair is, and once as a single commit, which no server could use, because the work happens between the two.
"""

POOL = """
## Free work out of one pool

A thousand keys, each with a budget of the day, ask for three sats of free work; all of it comes out of one row. *Timmy* decides as the
server does: the pool and the key's budget are looked at and reserved in one step, by everybody who waits together; *decided and granted*
goes on to the end of the work, a second commit, in which both reservations are posted and the grant is written. *Interactive* is the
usual way, each caller a transaction of its own: `SELECT` the pool `FOR UPDATE`, look at the budget, `UPDATE` both, `INSERT` the grant,
`COMMIT`. It writes less: no transfers that explain the balances, nothing that is reserved while the work is under way. After each
turn, what left the pool must be the sum of the grants, and every key's budget less by its own.
"""

JOBS = """
## Jobs

*Timmy's jobs* are the whole of it except HTTP, in five steps: handed in; its judging paid; judged and offered; its work paid; done
and accounted for. The wallet and the model answer at once. In those steps are written the job's row, two invoices, the transfers of
its money between five accounts, its events and its tasks; beside the five steps, each invoice is noted before the wallet is asked
for it, and each task is claimed, which are commits too. *Bare* steps do nothing but be remembered: there, DBOS and Procrastinate
stand beside Timmy's task engine alone. *Steps that write the same rows* are a rival's steps with the content of ours, in plain SQL,
one transaction a step ([same_rows.py](../../bench/peers/same_rows.py)).

What is in theirs and not in ours: DBOS keeps each step's result and replays a workflow from them; Procrastinate knows priorities,
schedules and several strategies for retries. Everybody runs on the same cores, in one server process and in two, at several numbers
of jobs at once, and in each repetition the best of them counts. Timmy's worker takes as many tasks at once here as there are jobs
(`WORKERS` is 8 as it comes). With more processes than cores, and PostgreSQL on the same ones, growth is bounded by the machine.
"""

SESSIONS = """
## Session requests

*Timmy's* whole way of a prefunded request except HTTP, in one process: the macaroon is checked; the request is priced, and its most is
held; it is judged and worked on by a model that answers at once; what it cost is charged, a part of that goes to the pool, and the
event and the rest are written. The 64 callers share sixteen sessions, or all spend from one.
"""

GATEWAY = """
## Metered conversations over HTTP

`POST /v1/chat/completions` of a real `timmy serve`, with macaroons of sixteen paid sessions as the keys. Its provider is a small server
that answers at once ([upstream.py](../../bench/gateway/upstream.py)), the callers are bare connections that are kept, and everybody,
provider, gateway, PostgreSQL and callers, shares the cores of this machine. *CPU* is the callers' + that of the gateway and of
PostgreSQL; the provider's is in neither. After each turn the books must close, nothing may be reserved, there must be exactly as many
charges as answers, each of them exactly the price, and the sessions' balances must be less by that.

*LiteLLM* is its proxy 1.106.2 as its own command starts it, one worker with uvloop and httptools, compiled beforehand and with
OpenTelemetry installed, because without either it does work at each request that is not its own. It checks the sixteen keys and their
budgets (`custom_auth`, [litellm_keys.py](../../bench/gateway/litellm_keys.py)) and works out what each call costs from the same prices,
all of it in memory. What was **not** run: its virtual keys and its spend logs in PostgreSQL, whose database client fetches a binary of
its own. So nothing that LiteLLM counts here outlives its process; Timmy's charges are on disk before the answer is.

*Naive* is the usual design, small and fair ([naive.py](../../bench/gateway/naive.py)): FastAPI and httpx, one shared client, and for each
request two interactive transactions on the key's row by psycopg over a pool of sixteen connections, one that holds and one that charges
and writes the call down. It has no shared account, no double entry and no macaroons, and does not stream.

A turn of LiteLLM or of the naive design is at least eight seconds after four to warm up, of LiteLLM's streams twenty after ten. A
stream has fifty tokens, each sent as an event of its own. What an open stream takes is how much the gateway grew from fifty
streams, each held after its first token, to three hundred.
"""

MEMORY = """
## Memory with many open jobs

A `timmy serve` as it comes, with the built-in wallet; jobs are handed in over HTTP and not paid. Open jobs are rows, and the sweep
looks at their invoices a few at a time.
"""

WORLD = """
## One event to many viewers

Thousands of WebSockets in front of one server process; one of the visitors says something, and it is measured until the last of all has
it. The viewers are bare connections in one process that shares the machine ([crowd.py](../../bench/world/crowd.py)), and every event must
have come to each of them. *Timmy* is a `timmy serve` as it comes, but for its limits: what was said is checked, written to PostgreSQL and
committed, read from there by its number, as another process would read it, and sent; Timmy looks at most twenty times a second, which is
part of the time to the last. *websockets* is the library alone ([plain.py](../../bench/world/plain.py)), on uvloop and without
compression: nothing is checked or written, its own `broadcast()` sends each message on. From the first viewer who has it to the last is
what both do alike. *CPU* is the server's for one event, without what it does when nothing is said.
"""
