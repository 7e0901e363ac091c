"""What memory a process can have: the least of the machine's and its groups'."""

from pannier.system_memory import available_memory

MIB = 1 << 20


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def machine(root, available_kib=8 * 1024, groups="0::/\n"):
    write(root, {"proc/meminfo": f"MemTotal: 99999 kB\nMemAvailable: {available_kib} kB\n"})
    write(root, {"proc/self/cgroup": groups})


def v2(limit, current, active=0, inactive=0):
    stat = f"anon 5\nactive_file {active}\ninactive_file {inactive}\n"
    return {"memory.max": f"{limit}\n", "memory.current": f"{current}\n", "memory.stat": stat}


def test_the_machine_without_groups(tmp_path):
    machine(tmp_path)
    assert available_memory(tmp_path) == 8 * MIB


def test_no_machine_that_says(tmp_path):
    assert available_memory(tmp_path) is None


def test_a_limit_of_version_2_without_what_can_be_dropped(tmp_path):
    machine(tmp_path, groups="0::/box\n")
    group = v2(4 * MIB, 3 * MIB, active=MIB, inactive=MIB // 2)
    write(tmp_path / "sys/fs/cgroup/box", group)
    assert available_memory(tmp_path) == 4 * MIB - 3 * MIB + MIB + MIB // 2


def test_a_limit_of_a_group_above(tmp_path):
    machine(tmp_path, groups="0::/outer/inner\n")
    write(tmp_path / "sys/fs/cgroup/outer/inner", v2("max", MIB))
    write(tmp_path / "sys/fs/cgroup/outer", v2(3 * MIB, MIB))
    assert available_memory(tmp_path) == 2 * MIB


def test_a_container_that_sees_its_group_as_the_root(tmp_path):
    machine(tmp_path, groups="0::/docker/0123\n")
    write(tmp_path / "sys/fs/cgroup", v2(2 * MIB, MIB))
    assert available_memory(tmp_path) == MIB


def test_a_limit_of_version_1(tmp_path):
    machine(tmp_path, groups="3:cpu,cpuacct:/x\n2:memory:/box\n")
    stat = f"active_file 1\ntotal_active_file {MIB}\ntotal_inactive_file 0\n"
    group = {"limit_in_bytes": 5 * MIB, "usage_in_bytes": 4 * MIB, "stat": stat}
    write(
        tmp_path / "sys/fs/cgroup/memory/box",
        {f"memory.{name}": f"{value}" for name, value in group.items()},
    )
    assert available_memory(tmp_path) == 2 * MIB


def test_version_1_writes_no_limit_as_a_large_one(tmp_path):
    machine(tmp_path, groups="2:memory:/\n")
    group = {"limit_in_bytes": 2**63 - 4096, "usage_in_bytes": MIB}
    write(
        tmp_path / "sys/fs/cgroup/memory",
        {f"memory.{name}": f"{value}" for name, value in group.items()},
    )
    assert available_memory(tmp_path) == 8 * MIB


def test_a_group_beyond_its_limit_leaves_nothing(tmp_path):
    machine(tmp_path, groups="0::/box\n")
    write(tmp_path / "sys/fs/cgroup/box", v2(MIB, 2 * MIB))
    assert available_memory(tmp_path) == 0


def test_this_machine():
    assert available_memory() > 0
