"""The lab: a real engine and a real registry for the demo, the tests and the benchmarks.

    with Lab() as lab:
        engine = lab.enter(Engine(lab.folder / "engine"))
        registry = lab.enter(Registry(lab.folder / "registry", users={"monitor": "secret"}))

Everything is below one temporary folder, answers on loopback only, and is gone when the lab ends. What a lab leaves
that was ended by `kill -9` is removed by the next one.
"""
