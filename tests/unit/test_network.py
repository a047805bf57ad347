# SPDX-License-Identifier: Apache-2.0
"""Where VIPs come from: the configuration, the choice of an address, what a plan reserves, what becomes of ports."""

import contextlib
import ipaddress
import threading
import time
import uuid

import pytest

from fastlb import schema
from fastlb.errors import ConfigError, Conflict, StoreError
from fastlb.network import NetworkConfig, Networking
from fastlb.network.addresses import AddressSpace
from fastlb.network.faults import NetworkFault
from fastlb.schema import LoadBalancerSpec
from fastlb.store.memory import MemoryStore

WEB = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a01"
WEB6 = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a06"
OTHER = "3f9a5c1e-6a0b-4d6f-9a55-0d5c1b7f0a02"
UNKNOWN = "00000000-1111-2222-3333-444444444444"
PROJECT = "5" * 32
FULL = StoreError("fastlb.db", "the disk is full", "make room")

CONFIG = NetworkConfig.of(
    subnets=[
        {"id": WEB6, "name": "web6", "cidr": "2001:db8::/64", "network": "tenant"},
        {
            "id": WEB,
            "name": "web",
            "cidr": "10.0.0.0/24",
            "network": "tenant",
            "gateway": "10.0.0.1",
            "reaches": ["provider"],
        },
        {"id": OTHER, "name": "other", "cidr": "10.0.1.0/29", "reaches": []},
    ],
    floating_networks=[{"cidr": "192.0.2.0/24"}, {"name": "second", "cidr": "198.51.100.0/24"}],
)


def spec(**fields):
    return schema.create(LoadBalancerSpec, fields, coerce=True)


class Plans:
    """`plans.make(vip_subnet_id=…)`: the spec of a load balancer that is stored."""

    def __init__(self, config=None):
        self.store = MemoryStore()
        self.networking = Networking(config)
        self.networking.open(self.store, lambda balancer_id: None)
        self.network_id = next(
            one.id for one in self.networking.networks.all() if one.name in ("tenant", "default")
        )

    def plan(self, balancer_id=None, project_id=PROJECT, **fields):
        return self.networking.plan(
            spec(**fields), project_id=project_id, balancer_id=balancer_id or str(uuid.uuid4())
        )

    def make(self, balancer_id=None, **fields):
        with self.plan(balancer_id, **fields) as change:
            self.store.commit(change.puts, change.drops)
        return change.spec

    def remove(self, balancer_id):
        with self.networking.release(balancer_id) as change:
            self.store.commit(change.puts, change.drops)

    def again(self):
        """The same store in the next process."""
        self.networking = Networking(self.networking.config)
        self.networking.open(self.store, lambda balancer_id: None)
        return self


@pytest.fixture
def plans():
    return Plans(CONFIG)


@pytest.fixture
def bare():
    """With nothing configured."""
    return Plans()


def fault(kind, call, *arguments, **options):
    with pytest.raises(kind) as caught:
        call(*arguments, **options)
    return caught.value.fault


# The configuration.


@pytest.mark.parametrize(
    ("subnets", "floating", "message"),
    [
        ([{"name": "web"}], [], "subnets[0].cidr: must be given"),
        ([{"cidr": "10.0.0.1/24"}], [], "subnets[0].cidr='10.0.0.1/24': must be a network such as"),
        ([{"cidr": "10.0.0.0/24", "cird": 1}], [], "subnets[0].cird: no such field; did you mean cidr?"),
        ([{"cidr": "10.0.0.0/24", "id": "web"}], [], "subnets[0].id='web': must be a UUID"),
        ([{"cidr": "10.0.0.0/24", "gateway": "10.0.1.1"}], [], "gateway='10.0.1.1': must be in 10.0.0.0/24"),
        (
            [{"cidr": "10.0.0.0/24", "allocation_pools": ["10.0.0.9-10.0.0.3"]}],
            [],
            "allocation_pools[0]='10.0.0.9-10.0.0.3': must name the lower address first",
        ),
        (
            [{"cidr": "10.0.0.0/24", "allocation_pools": ["10.0.0.9"]}],
            [],
            "allocation_pools[0]='10.0.0.9': must be two addresses",
        ),
        (
            [{"cidr": "10.0.0.0/24", "reaches": ["outside"]}],
            [{"cidr": "192.0.2.0/24"}],
            "subnets[0].reaches='outside': must be the name of a floating network; there are: provider",
        ),
        (
            [{"cidr": "10.0.0.0/24"}, {"cidr": "10.0.0.128/25"}],
            [],
            "subnets[1].cidr='10.0.0.128/25': must not overlap subnets[0].cidr='10.0.0.0/24'",
        ),
        (
            [{"cidr": "10.0.0.0/24"}],
            [{"cidr": "10.0.0.0/16"}],
            "floating_networks[0].cidr='10.0.0.0/16': must not overlap subnets[0].cidr='10.0.0.0/24'",
        ),
        (
            [{"cidr": "10.0.0.0/24"}],
            [{"cidr": "192.0.2.0/25"}, {"cidr": "192.0.2.128/25"}],
            "floating_networks[1].name='provider': must not stand twice",
        ),
        (
            [{"name": "web", "cidr": "10.0.0.0/24"}, {"name": "web", "cidr": "10.0.0.0/24"}],
            [],
            "must not stand twice; where none is given it follows from name and cidr",
        ),
        ("web", [], "subnets='web': must be a list"),
        (
            [{"cidr": "10.0.0.0/24", "network": "provider"}],
            [{"cidr": "192.0.2.0/24"}],
            "must not be a floating",
        ),
    ],
)
def test_configuration_that_cannot_be_is_refused_with_its_place(subnets, floating, message):
    with pytest.raises(ConfigError) as caught:
        NetworkConfig.of(subnets, floating)
    assert message in str(caught.value)


def test_what_a_configuration_leaves_out_is_the_same_at_each_start():
    one, two = (NetworkConfig.of([{"name": "web", "cidr": "10.0.0.0/24"}]) for _ in range(2))
    assert one == two
    assert uuid.UUID(one.subnets[0].id)
    assert one.subnets[0].network == "web"
    assert one.floating_networks == ()
    assert not one.stands_in


def test_allocation_pools_are_taken_as_text_and_as_neutron_has_them():
    pools = ["10.0.0.100 - 10.0.0.101", {"start": "10.0.0.7", "end": "10.0.0.7"}]
    plans = Plans(
        NetworkConfig.of([{"id": WEB, "network": "tenant", "cidr": "10.0.0.0/24", "allocation_pools": pools}])
    )
    addresses = [plans.make(vip_subnet_id=WEB).vip_address for _ in range(3)]
    assert addresses == ["10.0.0.7", "10.0.0.100", "10.0.0.101"]
    assert "No more IP addresses available on network" in fault(Conflict, plans.make, vip_subnet_id=WEB)
    # Outside of the pools an address may still be asked for.
    assert plans.make(vip_subnet_id=WEB, vip_address="10.0.0.8").vip_address == "10.0.0.8"


# Which address is next.


def test_space_gives_each_host_once_and_then_what_was_given_back():
    space, taken = AddressSpace("10.0.0.0/29", gateway="10.0.0.1"), set()
    found = []
    while (address := space.free(taken)) is not None:
        taken.add(address)
        found.append(address)
    assert found == [f"10.0.0.{n}" for n in range(2, 7)]
    for back in ("10.0.0.5", "10.0.0.3", "10.0.0.5"):
        taken.discard(back)
        space.give_back(back)
    found = [space.free(taken)]
    taken.add(found[0])
    found.append(space.free(taken))
    taken.add(found[1])
    assert found == ["10.0.0.5", "10.0.0.3"]
    assert space.free(taken) is None


@pytest.mark.parametrize(
    ("cidr", "hosts"),
    [
        ("10.0.0.4/32", 1),
        ("10.0.0.4/31", 2),
        ("10.0.0.4/30", 2),
        ("2001:db8::/126", 3),
        ("2001:db8::1/128", 1),
    ],
)
def test_small_networks_have_the_hosts_that_they_have(cidr, hosts):
    space, taken = AddressSpace(cidr), set()
    while (address := space.free(taken)) is not None:
        assert space.is_host(address)
        taken.add(address)
    assert len(taken) == hosts


def test_an_address_given_back_waits_while_there_are_fresh_ones():
    space, taken = AddressSpace("10.0.0.0/24"), set()
    taken.add(space.free(taken))
    taken.discard("10.0.0.1")
    taken.add("10.0.0.2")
    space._at += 1  # somebody had it
    space.give_back("10.0.0.1")
    assert space.free(taken) == "10.0.0.3"


def seconds_each(count):
    """CPU seconds to get one of so many addresses, and then, with all of them out, to give one back and get one."""
    bare = Plans()
    bare.store.commit = lambda puts, drops=(): 0  # the store has its own measurements
    networking, wanted = bare.networking, spec(vip_subnet_id=WEB)
    began = time.process_time()
    for number in range(count):
        with networking.plan(wanted, project_id=PROJECT, balancer_id=str(number)):
            pass
    filled = time.process_time()
    for number in range(500):
        with networking.release(str(number)):
            pass
        with networking.plan(wanted, project_id=PROJECT, balancer_id=str(number)):
            pass
    return (filled - began) / count, (time.process_time() - filled) / 500


def test_sixty_thousand_addresses_cost_as_much_each_as_a_thousand():
    few = [seconds_each(1000) for _ in range(3)]
    get, change = (min(one[at] for one in few) for at in (0, 1))
    many = seconds_each(65_534)  # the whole subnet
    assert many[0] < 4 * get + 20e-6
    assert many[1] < 4 * change + 20e-6


# VIPs with subnets configured.


def test_a_subnet_gives_the_next_address_and_everything_is_filled_in(plans):
    made = plans.make("lb1", vip_subnet_id=WEB)
    assert (made.vip_address, made.vip_subnet_id) == ("10.0.0.2", WEB)  # .1 is the gateway's
    assert made.vip_network_id == plans.network_id
    port = plans.networking.ports.get(made.vip_port_id)
    assert (port.name, port.device_owner, port.device_id) == ("octavia-lb-lb1", "Octavia", "lb-lb1")
    assert (port.project_id, port.network_id) == (PROJECT, plans.network_id)
    assert [(one.subnet_id, one.ip_address) for one in port.fixed_ips] == [(WEB, "10.0.0.2")]
    assert plans.make(vip_subnet_id=WEB).vip_address == "10.0.0.3"


def test_an_address_of_the_subnet_can_be_asked_for_once(plans):
    made = plans.make("lb1", vip_subnet_id=WEB, vip_address="10.0.0.77")
    assert made.vip_address == "10.0.0.77"
    words = fault(Conflict, plans.make, vip_subnet_id=WEB, vip_address="10.0.0.77")
    assert words == (
        f"The VIP IP address is already in use: IP address 10.0.0.77 already allocated in subnet {WEB}"
    )
    plans.remove("lb1")
    assert plans.make(vip_subnet_id=WEB, vip_address="10.0.0.77").vip_address == "10.0.0.77"


@pytest.mark.parametrize("address", ["10.0.1.2", "127.0.0.1", "::1", "10.0.0.0", "10.0.0.255"])
def test_an_address_that_the_subnet_does_not_have_is_refused(plans, address):
    words = fault(ConfigError, plans.make, vip_subnet_id=WEB, vip_address=address)
    assert words == f"IP address {address} is not a valid IP for the specified subnet."


def test_the_gateway_is_nobodys_address(plans):
    fault(Conflict, plans.make, vip_subnet_id=WEB, vip_address="10.0.0.1")


def test_a_network_gives_an_address_of_an_ipv4_subnet_first(plans):
    made = plans.make(vip_network_id=plans.network_id)
    assert (made.vip_subnet_id, made.vip_address) == (WEB, "10.0.0.2")


def test_a_network_finds_the_subnet_of_an_address(plans):
    made = plans.make(vip_network_id=plans.network_id, vip_address="2001:db8::77")
    assert made.vip_subnet_id == WEB6
    words = fault(ConfigError, plans.make, vip_network_id=plans.network_id, vip_address="10.9.9.9")
    assert words.endswith("Supplied network does not contain a subnet for VIP address specified.")


def test_a_network_that_is_used_up_is_refused(plans):
    network_id = next(one.id for one in plans.networking.networks.all() if one.name == "other")
    for _ in range(6):
        plans.make(vip_network_id=network_id)
    words = fault(ConfigError, plans.make, vip_network_id=network_id)
    assert words.endswith("Subnet(s) in the supplied network do not contain enough available IPs.")


def test_what_nobody_knows_is_refused_where_subnets_are_configured(plans):
    assert fault(ConfigError, plans.make, vip_subnet_id=UNKNOWN) == f"Subnet {UNKNOWN} not found."
    assert fault(ConfigError, plans.make, vip_network_id=UNKNOWN) == f"Network {UNKNOWN} not found."
    assert fault(ConfigError, plans.make, vip_port_id=UNKNOWN) == f"Port {UNKNOWN} not found."
    words = fault(ConfigError, plans.make, vip_network_id=plans.network_id, vip_subnet_id=OTHER)
    assert words == f"Subnet {OTHER} not found."


def test_additional_vips_are_addresses_of_the_same_port(plans):
    made = plans.make(vip_subnet_id=WEB, additional_vips=[{"subnet_id": WEB6, "ip_address": "2001:db8::5"}])
    (more,) = made.additional_vips
    assert (more.subnet_id, more.ip_address, more.port_id) == (WEB6, "2001:db8::5", made.vip_port_id)
    assert made.vips == ("10.0.0.2", "2001:db8::5")


def test_additional_vips_are_refused_on_another_network_and_twice_on_one_subnet(plans):
    words = fault(ConfigError, plans.make, vip_subnet_id=WEB, additional_vips=[{"subnet_id": OTHER}])
    assert words == "Validation failure: All VIP subnets must belong to the same network."
    words = fault(
        ConfigError,
        plans.make,
        vip_network_id=plans.network_id,
        additional_vips=[{"subnet_id": WEB}],
    )
    assert words.endswith("Duplicate VIP subnet(s) specified. Only one IP can be bound per subnet.")


def test_of_several_addresses_all_are_taken_or_none(plans):
    plans.make(vip_subnet_id=WEB6, vip_address="2001:db8::5")
    more = [{"subnet_id": WEB6, "ip_address": "2001:db8::5"}]
    with pytest.raises(Conflict):
        plans.make(vip_subnet_id=WEB, vip_address="10.0.0.9", additional_vips=more)
    assert plans.make(vip_subnet_id=WEB, vip_address="10.0.0.9").vip_address == "10.0.0.9"


# Ports that were there before.


def test_a_port_made_earlier_gives_its_address_and_stays_when_the_load_balancer_goes(plans):
    port = plans.networking.ports.create(
        {"network_id": plans.network_id, "fixed_ips": [{"subnet_id": WEB, "ip_address": "10.0.0.50"}]},
        project_id=PROJECT,
    )
    made = plans.make("lb1", vip_port_id=port.id)
    assert (made.vip_address, made.vip_subnet_id, made.vip_port_id) == ("10.0.0.50", WEB, port.id)
    assert plans.networking.ports.get(port.id).device_id == "lb-lb1"
    assert f"Port {port.id} is already used by device lb-lb1" in fault(
        ConfigError, plans.make, vip_port_id=port.id
    )
    plans.remove("lb1")
    port = plans.again().networking.ports.get(port.id)
    assert (port.device_id, port.device_owner, port.fixed_ips[0].ip_address) == ("", "", "10.0.0.50")


def test_a_port_with_two_addresses_needs_to_be_told_which(plans):
    port = plans.networking.ports.create(
        {"network_id": plans.network_id, "fixed_ips": [{"subnet_id": WEB}, {"subnet_id": WEB6}]},
        project_id=PROJECT,
    )
    first, second = (fixed.ip_address for fixed in port.fixed_ips)
    assert "VIP port's subnet could not be determined" in fault(ConfigError, plans.make, vip_port_id=port.id)
    assert "Specified VIP address not found" in fault(
        ConfigError, plans.make, vip_port_id=port.id, vip_address="10.0.0.99"
    )
    with plans.plan(vip_port_id=port.id, vip_address=second) as change:
        assert change.spec.vip_subnet_id == WEB6
    plans.remove(plans.networking.ports.get(port.id).balancer_id)
    made = plans.make(vip_port_id=port.id, vip_subnet_id=WEB, additional_vips=[{"subnet_id": WEB6}])
    assert made.vips == (first, second)


# Without subnets configured.


def test_any_uuid_is_the_default_subnet_and_each_load_balancer_has_its_own_address(bare):
    made = [bare.make(vip_subnet_id=str(uuid.uuid4())) for _ in range(3)]
    assert [one.vip_address for one in made] == ["127.64.0.1", "127.64.0.2", "127.64.0.3"]
    assert len({one.vip_network_id for one in made}) == 1
    asked = bare.make(vip_subnet_id=UNKNOWN, vip_network_id=UNKNOWN)
    assert (asked.vip_subnet_id, asked.vip_network_id) == (UNKNOWN, UNKNOWN)
    assert bare.make(vip_network_id=UNKNOWN).vip_network_id == UNKNOWN


def test_a_port_that_nobody_knows_is_made_with_that_id(bare):
    made = bare.make("lb1", vip_port_id=UNKNOWN)
    assert (made.vip_port_id, made.vip_address) == (UNKNOWN, "127.64.0.1")
    assert bare.networking.ports.get(UNKNOWN).device_id == "lb-lb1"
    assert "already used by device lb-lb1" in fault(ConfigError, bare.make, vip_port_id=UNKNOWN)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_addresses_of_this_machine_are_accepted_for_as_many_as_want_them(bare, address):
    for _ in range(2):
        assert bare.make(vip_subnet_id=UNKNOWN, vip_address=address).vip_address == address
    assert bare.make(vip_network_id=UNKNOWN, vip_address=address).vip_address == address


def test_an_address_that_is_not_here_is_accepted_once(bare):
    assert bare.make("lb1", vip_subnet_id=UNKNOWN, vip_address="203.0.113.9").vip_address == "203.0.113.9"
    fault(Conflict, bare.make, vip_subnet_id=UNKNOWN, vip_address="203.0.113.9")
    bare.again()
    fault(Conflict, bare.make, vip_subnet_id=UNKNOWN, vip_address="203.0.113.9")
    bare.remove("lb1")
    bare.make(vip_subnet_id=UNKNOWN, vip_address="203.0.113.9")


def test_additional_vips_on_two_unknown_subnets_get_two_addresses(bare):
    made = bare.make(vip_subnet_id=UNKNOWN, additional_vips=[{"subnet_id": OTHER}])
    assert made.vips == ("127.64.0.1", "127.64.0.2")
    assert made.additional_vips[0].subnet_id == OTHER


def test_from_python_an_address_alone_will_do(bare):
    wanted = schema.create(
        LoadBalancerSpec, {"vip_address": "127.0.0.1", "additional_vips": [{"ip_address": "::1"}]}
    )
    with bare.networking.plan(wanted, project_id=PROJECT, balancer_id="lb1") as change:
        assert change.spec.vips == ("127.0.0.1", "::1")


# Changes.


def test_what_a_plan_reserves_is_free_again_when_it_could_not_be_stored(plans):
    with pytest.raises(StoreError), plans.plan(vip_subnet_id=WEB, vip_address="10.0.0.9"):
        raise FULL
    assert plans.networking.ports.all() == []
    assert plans.make(vip_subnet_id=WEB, vip_address="10.0.0.9").vip_address == "10.0.0.9"


def test_undoing_twice_frees_nothing_that_is_anothers(plans):
    change = plans.plan(vip_subnet_id=WEB, vip_address="10.0.0.9")
    change.undo()
    plans.make(vip_subnet_id=WEB, vip_address="10.0.0.9")
    change.undo()
    fault(Conflict, plans.make, vip_subnet_id=WEB, vip_address="10.0.0.9")


def test_a_plan_holds_its_address_until_it_ends(plans):
    with plans.plan(vip_subnet_id=WEB, vip_address="10.0.0.9"):
        fault(Conflict, plans.plan, vip_subnet_id=WEB, vip_address="10.0.0.9")
        assert plans.make(vip_subnet_id=WEB).vip_address == "10.0.0.2"


def test_many_at_once_get_an_address_each(bare):
    found, ready = [], threading.Barrier(8)

    def work():
        ready.wait()
        for _ in range(50):
            found.append(bare.make(vip_subnet_id=WEB).vip_address)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 400


def test_two_that_want_the_same_port_wait_for_each_other(plans):
    port = plans.networking.ports.create({"network_id": plans.network_id}, project_id=PROJECT)
    refused = []

    def second():
        refused.append(fault(ConfigError, plans.make, vip_port_id=port.id))

    with plans.plan("lb1", vip_port_id=port.id):
        thread = threading.Thread(target=second)
        thread.start()
    thread.join()
    assert "is already used by device lb-lb1" in refused[0]


def test_everything_is_known_again_after_a_restart(plans):
    made = plans.make("lb1", vip_subnet_id=WEB)
    floating = plans.networking.floating_ips.create(
        {"floating_network_id": provider(plans), "port_id": made.vip_port_id}, project_id=PROJECT
    )
    ports = plans.networking.ports.all()
    plans.again()
    assert plans.networking.ports.all() == ports
    assert plans.networking.floating_ips.all() == [floating]
    assert plans.networking.extra_addresses("lb1") == [floating.floating_ip_address]
    assert plans.make(vip_subnet_id=WEB).vip_address == "10.0.0.3"
    fault(Conflict, plans.make, vip_subnet_id=WEB, vip_address="10.0.0.2")


def test_a_port_of_a_subnet_that_the_configuration_lost_stays(plans):
    plans.make("lb1", vip_subnet_id=WEB)
    plans.networking.config = NetworkConfig.of([{"name": "tenant", "cidr": "10.7.0.0/24"}])
    plans.again()
    assert plans.networking.ports.all()[0].fixed_ips[0].ip_address == "10.0.0.2"
    plans.remove("lb1")
    assert plans.networking.ports.all() == []


# Floating IPs.


def provider(plans, name="provider"):
    return next(one.id for one in plans.networking.networks.all() if one.name == name)


def test_a_floating_ip_leads_to_a_port_until_it_is_taken_away(plans):
    made = plans.make("lb1", vip_subnet_id=WEB)
    floating = plans.networking.floating_ips.create(
        {"floating_network_id": provider(plans)}, project_id=PROJECT
    )
    assert floating.floating_ip_address == "192.0.2.1"
    floating = plans.networking.floating_ips.update(floating.id, {"port_id": made.vip_port_id})
    assert (floating.port_id, floating.fixed_ip_address) == (made.vip_port_id, made.vip_address)
    assert plans.networking.extra_addresses("lb1") == ["192.0.2.1"]
    floating = plans.networking.floating_ips.update(floating.id, {"port_id": None})
    assert (floating.port_id, floating.fixed_ip_address) == (None, None)
    assert plans.networking.extra_addresses("lb1") == []


def test_a_floating_network_that_the_subnet_does_not_reach_is_refused_in_neutrons_words(plans):
    made = plans.make(vip_subnet_id=OTHER)
    with pytest.raises(NetworkFault) as caught:
        plans.networking.floating_ips.create(
            {"floating_network_id": provider(plans), "port_id": made.vip_port_id}, project_id=PROJECT
        )
    assert caught.value.status == 404
    assert caught.value.fault == (
        f"External network {provider(plans)} is not reachable from subnet {OTHER}.  Therefore, cannot associate Port "
        f"{made.vip_port_id} with a Floating IP."
    )
    # And the address was not lost.
    assert plans.networking.floating_ips.all() == []
    web = plans.make(vip_subnet_id=WEB)
    floating = plans.networking.floating_ips.create(
        {"floating_network_id": provider(plans), "floating_ip_address": "192.0.2.1"}, project_id=PROJECT
    )
    other = plans.networking.floating_ips.create(
        {"floating_network_id": provider(plans, "second")}, project_id=PROJECT
    )
    with pytest.raises(NetworkFault, match="not reachable from subnet"):
        plans.networking.floating_ips.update(other.id, {"port_id": web.vip_port_id})
    assert plans.networking.floating_ips.update(floating.id, {"port_id": web.vip_port_id}).port_id


def test_one_fixed_ip_has_one_floating_ip_of_a_network(plans):
    made = plans.make(vip_subnet_id=WEB)
    body = {"floating_network_id": provider(plans), "port_id": made.vip_port_id}
    plans.networking.floating_ips.create(body, project_id=PROJECT)
    with pytest.raises(NetworkFault, match="already has a floating IP on external network") as caught:
        plans.networking.floating_ips.create(body, project_id=PROJECT)
    assert caught.value.status == 409


def test_a_load_balancer_that_goes_leaves_its_floating_ip_leading_nowhere(plans):
    made = plans.make("lb1", vip_subnet_id=WEB)
    floating = plans.networking.floating_ips.create(
        {"floating_network_id": provider(plans), "port_id": made.vip_port_id}, project_id=PROJECT
    )
    plans.remove("lb1")
    for networking in (plans.networking, plans.again().networking):
        assert networking.floating_ips.get(floating.id).port_id is None
        assert networking.ports.all() == []


def test_a_floating_ip_that_moves_leads_to_the_new_port_alone(plans):
    first, second = plans.make("lb1", vip_subnet_id=WEB), plans.make("lb2", vip_subnet_id=WEB)
    floating = plans.networking.floating_ips.create(
        {"floating_network_id": provider(plans), "port_id": first.vip_port_id}, project_id=PROJECT
    )
    plans.networking.floating_ips.update(floating.id, {"port_id": second.vip_port_id})
    assert plans.networking.extra_addresses("lb1") == []
    assert plans.networking.extra_addresses("lb2") == [floating.floating_ip_address]


def test_a_deleted_floating_ip_gives_its_address_back(plans):
    body = {"floating_network_id": provider(plans), "floating_ip_address": "192.0.2.9"}
    floating = plans.networking.floating_ips.create(body, project_id=PROJECT)
    with pytest.raises(NetworkFault, match="already allocated"):
        plans.networking.floating_ips.create(body, project_id=PROJECT)
    plans.networking.floating_ips.delete(floating.id)
    assert plans.networking.floating_ips.create(body, project_id=PROJECT).floating_ip_address == "192.0.2.9"


def test_a_commit_that_fails_leaves_addresses_free(plans):
    class Broken(MemoryStore):
        def commit(self, puts, drops=()):
            raise FULL

    plans.networking._state.store = Broken()
    ip = {"floating_network_id": provider(plans), "floating_ip_address": "192.0.2.9"}
    port = {"network_id": plans.network_id, "fixed_ips": [{"ip_address": "10.0.0.9"}]}
    for call, body in ((plans.networking.floating_ips.create, ip), (plans.networking.ports.create, port)):
        with contextlib.suppress(StoreError):
            call(body, project_id=PROJECT)
    plans.networking._state.store = plans.store
    plans.networking.floating_ips.create(ip, project_id=PROJECT)
    plans.networking.ports.create(port, project_id=PROJECT)


# Subnets that projects make.


def test_a_subnet_that_a_project_makes_gives_vips_too(bare):
    networks = bare.networking.networks
    network = networks.create({"name": "mine"}, project_id=PROJECT)
    subnet = networks.create_subnet(
        {"network_id": network.id, "cidr": "192.168.7.0/24", "ip_version": 4}, project_id=PROJECT
    )
    assert subnet.gateway_ip == "192.168.7.1"
    made = bare.make("lb1", vip_subnet_id=subnet.id)
    assert (made.vip_address, made.vip_network_id) == ("192.168.7.2", network.id)
    with pytest.raises(NetworkFault, match="overlaps with another subnet"):
        networks.create_subnet({"network_id": network.id, "cidr": "192.168.0.0/16"}, project_id=PROJECT)
    for refused in (lambda: networks.delete_subnet(subnet.id), lambda: networks.delete(network.id)):
        with pytest.raises(NetworkFault) as caught:
            refused()
        assert caught.value.status == 409
    bare.again().remove("lb1")
    networks = bare.networking.networks
    assert networks.get_subnet(subnet.id).cidr == "192.168.7.0/24"
    networks.delete(network.id)
    assert subnet.id not in [one.id for one in networks.all_subnets()]


def test_what_is_configured_cannot_be_changed_from_outside(plans):
    networks = plans.networking.networks
    for call in (
        lambda: networks.update(plans.network_id, {"name": "mine"}),
        lambda: networks.delete(plans.network_id),
        lambda: networks.update_subnet(WEB, {"name": "mine"}),
        lambda: networks.delete_subnet(WEB),
        lambda: networks.create_subnet(
            {"network_id": plans.network_id, "cidr": "10.8.0.0/24"}, project_id=PROJECT
        ),
    ):
        with pytest.raises(NetworkFault) as caught:
            call()
        assert caught.value.status == 403


def test_addresses_of_the_default_subnet_are_loopback():
    for subnet in Plans().networking.networks.all_subnets():
        assert ipaddress.ip_network(subnet.cidr).is_loopback
