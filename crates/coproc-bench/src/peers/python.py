# Each line that comes in is a command and a number, each that goes out the nanoseconds that it took and the sum of what came of it.
# The first that goes out is the version. The pool for `map` and `apply` is made by the first of these.

import multiprocessing
import sys
import time

workers = int(sys.argv[1])
fork = multiprocessing.get_context('fork')
kept = []
new = []


def square(n):
    return n * n


def nothing():
    pass


def pool():
    if not kept:
        kept.append(multiprocessing.Pool(workers))
    return kept[0]


def create(count):
    new.append(multiprocessing.Pool(workers))
    return new[0].map(square, range(count))


def spawn(times):
    for _ in range(times):
        child = fork.Process(target=nothing)
        child.start()
        child.join()
    return [times]


commands = {
    'map': lambda count: pool().map(square, range(count)),
    'apply': lambda times: [pool().apply(square, (n,)) for n in range(times)],
    'create': create,
    'spawn': spawn,
}

print(*sys.version_info[:2], flush=True)
for line in sys.stdin:
    command, number = line.split()
    start = time.perf_counter_ns()
    results = commands[command](int(number))
    took = time.perf_counter_ns() - start
    while new:
        new.pop().terminate()
    print(took, sum(results), flush=True)
if kept:
    kept[0].terminate()
