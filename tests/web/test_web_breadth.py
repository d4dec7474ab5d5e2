"""How much may be under way at one time, and how that changes."""

import asyncio

from pipeline.web.allowance import Allowance
from pipeline.web.breadth import FIRST, LEAST, Breadth, Pressure


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_comes_again_is_served_first_and_all_others_in_their_order():
    async def main():
        allowance, order = Allowance(1), []

        async def come(name, again):
            await allowance.acquire(again=again)
            order.append(name)

        await allowance.acquire()
        tasks = [asyncio.create_task(come(name, name.isupper())) for name in "aBcD"]
        await settle()
        assert (order, allowance.is_short) == ([], True)
        for _ in tasks:
            allowance.release()
            await settle()
        return order, allowance.is_short

    assert asyncio.run(main()) == (["B", "D", "a", "c"], False)


def test_a_size_may_change_while_somebody_waits():
    async def main():
        allowance = Allowance(2)
        tasks = [asyncio.create_task(allowance.acquire()) for _ in range(6)]
        await settle()
        taken = [allowance.taken]
        allowance.resize(5)
        await settle()
        taken.append(allowance.taken)
        allowance.resize(1)
        for _ in range(4):
            allowance.release()
        await settle()
        taken.append(allowance.taken)
        allowance.release()
        await asyncio.gather(*tasks)
        return [*taken, allowance.taken]

    assert asyncio.run(main()) == [2, 5, 1, 1]


def test_what_weighs_more_than_all_is_let_in_alone():
    async def main():
        allowance = Allowance(4)
        await allowance.acquire(9)
        waits = asyncio.create_task(allowance.acquire(1))
        await settle()
        alone = not waits.done()
        allowance.release(9)
        await waits
        return alone, allowance.taken

    assert asyncio.run(main()) == (True, 1)


def test_who_gives_up_waiting_takes_nothing():
    async def main():
        allowance = Allowance(1)
        await allowance.acquire()
        waits, next_ = (asyncio.create_task(allowance.acquire()) for _ in range(2))
        await settle()
        waits.cancel()
        await settle()
        allowance.release()
        next_.cancel()  # it was let in at this moment
        await settle()
        return allowance.taken, allowance.is_short

    assert asyncio.run(main()) == (0, False)


def test_the_breadth_grows_while_hosts_wait_stays_while_answers_pile_up_and_shrinks_if_they_are_heavy():
    async def main():
        pressure = Pressure.NONE
        breadth = Breadth(300, lambda: pressure)
        sizes = [breadth.places.size]
        adapting = asyncio.create_task(breadth.adapt())
        waiting = [asyncio.create_task(breadth.places.acquire()) for _ in range(400)]
        await asyncio.sleep(1.2)
        sizes.append(breadth.places.size)
        pressure = Pressure.FULL
        await asyncio.sleep(0.5)
        sizes.append(breadth.places.size)
        pressure = Pressure.HEAVY
        await asyncio.sleep(1.5)
        sizes.append(breadth.places.size)
        for task in (*waiting, adapting):
            task.cancel()
        await asyncio.gather(*waiting, adapting, return_exceptions=True)
        return sizes

    first, grown, full, shrunk = asyncio.run(main())
    assert first == FIRST < grown <= 300
    assert full in (grown, 300)
    assert LEAST <= shrunk < grown


def test_a_late_event_loop_lets_no_more_hosts_in():
    breadth = Breadth(1000, lambda: Pressure.NONE)
    breadth.places._new.append((None, 1))  # somebody waits
    sizes = [breadth._next(breadth.places, Pressure.NONE, late_s) for late_s in (0.0, 0.1, 0.5)]
    assert sizes[0] > FIRST == sizes[1] > sizes[2]
