# SPDX-License-Identifier: Apache-2.0
"""Where fastlb deliberately does not answer what Octavia answers, and why.

A rule is for the lines of a comparison (`recorded.Step.differences`): `status: 500 …, here 400 …`,
`pool.name: a, here b`.
"""

import re
from fnmatch import fnmatchcase
from typing import NamedTuple


class Difference(NamedTuple):
    """why: the reason. lines: a pattern for the whole line. steps: `scenario: step`, with `*`; empty for all."""

    why: str
    lines: str
    steps: tuple[str, ...] = ()

    def explains(self, step: str, line: str) -> bool:
        here = not self.steps or any(fnmatchcase(step, pattern) for pattern in self.steps)
        return here and re.fullmatch(self.lines, line, re.DOTALL) is not None


INVALID = "Invalid input for field/attribute"
NOT_THERE = r'here 40[45] {"code": 40[45], .*'

WORDS = (
    Difference(
        "Octavia names the whole body where a value has the wrong type; fastlb names the field.",
        rf"faultstring: {INVALID} \w+\. Value: '{{.*'\. .*, here {INVALID} [\w.\[\]]+\. Value: '.*'\. Value .*",
    ),
    Difference(
        "Of objects within objects, fastlb says which.",
        rf"faultstring: {INVALID} (\w+)\. (.*), here {INVALID} [\w.\[\]]+\.\1\. \2",
    ),
    Difference(
        "Of a list, fastlb says which element.",
        rf"faultstring: {INVALID} (\w+)\. Value: '[\[{{].*[\]}}]'\. (.*), "
        rf"here {INVALID} \1\[[^\]]+\]\. Value: '.*'\. \2",
    ),
    Difference(
        "fastlb has more algorithms.",
        r"faultstring: (.*LEAST_CONNECTIONS), (ROUND_ROBIN.*), here .*LEAST_CONNECTIONS, MAGLEV, .*",
    ),
    Difference(
        "A pattern is shown as fastlb has it.",
        r"faultstring: (.* Value should match the pattern ).*, here \1.*",
    ),
    Difference(
        "A cookie's name has one rule here, whichever character breaks it.",
        rf"faultstring: {INVALID} cookie_name\. .*, here .*cookie_name.*",
    ),
    Difference(
        "Octavia shows a Python view.", r"faultstring: dict_keys\((.*)\) is not (.*), here \1 is not \2"
    ),
    Difference(
        "Octavia says less, or names the neighbour.",
        r"faultstring: .*, here (None is not a valid option for protocol_port"
        rf"|{INVALID} listener_id\. Value: 'None'\. Mandatory field missing\."
        rf"|{INVALID} (tags\[0\]|listeners\[0\]\..*)\. Value: 'None'\. .*"
        rf"|{INVALID} session_persistence\.type\. Value: 'None'\. Mandatory field missing\."
        rf"|{INVALID} redirect_url\. Value: '5'\. Value should be string"
        rf"|{INVALID} http_version\. Value: '2'\. .*)",
        (
            "listeners: create port null",
            "listeners: create tags *",
            "pools: persistence update *",
            "l7policies: create redirect_url 5",
            "health_monitors: create http_version 2",
            "errors: POST l7policies: empty root",
        ),
    ),
    Difference(
        "An update is told of SCTP too, as a creation is.",
        r"faultstring: (.* is only for) UDP( protocol pools\.), here \1 UDP and SCTP\2",
    ),
    Difference(
        "What is missing from a pool is said as it is for a pool alone.",
        rf"faultstring: .* missing required attribute: (\w+), here {INVALID} .*\.\1\. Value: 'None'\. Mandatory .*",
        ("fully_populated: *",),
    ),
    Difference(
        "A body without its object is one whose argument is missing, for every kind of object.",
        r"faultstring: .*, here (Missing argument: .*|.* Value must be an object)",
        ("errors: PUT listeners: *", "errors: POST l7policies/*"),
    ),
    Difference(
        "A body with another root has an unknown attribute, for every kind of object.",
        r"faultstring: .* unable to convert to \w+\. Error: .*, here Unknown attribute for argument .*",
        ("administration: quotas: PUT another root",),
    ),
    Difference(
        "The fault says what to do about it.",
        r"faultstring: Unknown argument: .*, here .* \(the body needs Content-Type: application/json\)",
        ("errors: content type *",),
    ),
)

REFUSED = (
    Difference("What Octavia stumbles over is refused.", r"status: 500 .*, here 4\d\d .*"),
    Difference(
        "What Octavia stumbles over is taken, where null or a column that has no match says nothing.",
        r"status: 500 .*, here 20[01] .*",
        (
            "fully_populated: l7policies null",
            "listeners: create l7policies None",
            "load_balancers: additional VIPs: null",
            "lists: listeners[?]allowed_cidrs=*",
        ),
    ),
    Difference(
        "One validator for single creates and whole load balancers: Octavia's looks less closely there.",
        r"status: 201 , here 400 .*",
        ("fully_populated: persistence *", "fully_populated: a member's subnet unknown"),
    ),
    Difference(
        "Beyond 32 bits, only SQLite keeps a number; Octavia's usual database does not.",
        r"status: 201 , here 400 .*Value should be lower or equal to 2147483647",
    ),
    Difference(
        "A number is no address, a null no text in a mapping.",
        r"status: 201 , here 400 .*(should be IPv4 or IPv6|Value: 'None'\. Value should be string).*",
        (
            "members: create address a number",
            "listeners: allowed_cidrs a number",
            "listeners: insert_headers *",
        ),
    ),
    Difference(
        "It could not be sent: a request line and a cookie's name are ASCII, a range of codes is not empty.",
        r"status: 201 , here 400 .*",
        (
            "health_monitors: create url_path '/ä'",
            "health_monitors: create expected_codes *",
            "pools: persistence *ä*",
        ),
    ),
    Difference(
        "An action keeps the target that it needs.",
        r"status: 200 , here 400 Invalid L7 Policy arguments: .* must not be None",
        ("l7policies: from *",),
    ),
    Difference(
        "A rule is found through its own policy.",
        r"status: 20[04] .*, here 404 L7 Rule .* not found\.",
        ("l7rules: * through another policy",),
    ),
    Difference(
        "With a load balancer named beside it, Octavia does not look whether the listener is its, or fits.",
        r"status: 201 , here 40[04] .*",
        (
            "pools: create on a listener of another load balancer",
            "protocols: TCP pool on a HTTP listener that *",
        ),
    ),
    Difference(
        "A timeout of 0 slips through there.",
        r"status: 201 , here 400 .*persistence_timeout.*",
        ("protocols: PROXY* pool with *",),
    ),
    Difference(
        "Addresses are compared as addresses, not as text.",
        r"status: 201 , here 409 Another member .*",
        ("members: create the same IPv6 in other words, again",),
    ),
    Difference(
        "Tags are a set: Octavia reports a tag that stands twice as a port that is taken.",
        r"status: 409 .*, here 201 .*",
        ("listeners: the same tag twice",),
    ),
    Difference(
        "The body of a DELETE means nothing.",
        r"status: 400 Unknown argument: .*, here 404 .*",
        ("errors: DELETE *",),
    ),
)

MORE = (
    Difference(
        "SOURCE_IP_PORT is forwarded here.",
        r"status: 501 .*Amphora provider does not support SOURCE_IP_PORT algorithm\., here 20[01] .*",
    ),
)

NOT_YET = (
    Difference(
        "This version does not forward it yet, and says so where Octavia takes it.",
        r"status: (201|200) .*, here 501 Provider 'amphora' does not support a requested option: .*",
    ),
    Difference(
        "A port is free while the listener that would have it is not forwarded.",
        r"status: 409 (Another .* already using protocol TERMINATED_HTTPS .*), here 201 .*"
        r"|faultstring: Another .* already using protocol TERMINATED_HTTPS .*, here Another .* protocol TCP .*",
        ("protocols: * on the port of TERMINATED_HTTPS",),
    ),
    Difference(
        "Of two refusals, another comes first.",
        r"faultstring: (Provider 'amphora' does not .* option: ).*, here \1.*"
        r"|status: (400|409) .*, here 501 Provider 'amphora' does not .*",
        ("protocols: *",),
    ),
)

ROUTES = (
    Difference(
        "Where Keystone would be its own server, this one answers for it.",
        r"status: 404 , here 200 .*identity-v3\+json.*",
        ("errors: nowhere: /v3",),
    ),
    Difference(
        "Allow names the methods that are there.",
        r"header allow: DELETE, GET(, POST)?(, PUT)?, here [A-Z, ]+",
    ),
    Difference(
        "Octavia takes a path that begins with one of its own for it; here what is not there is not found.",
        rf"status: 200 , {NOT_THERE}",
        ("errors: nowhere: /v2/*", "errors: spelling of two slashes", "states: statistics of a pool*"),
    ),
    Difference(
        "A method that a path has no use for is not allowed, whatever its body.",
        rf"status: (200|400) .*, {NOT_THERE}",
        ("errors: *: not there", "errors: OPTIONS *"),
    ),
    Difference(
        "The health check is not there; it says so as everything else does.",
        r"(text|code|title|description): .*|header content-type: .*",
        ("errors: nowhere: /healthcheck",),
    ),
)

LISTS = (
    Difference("Tags keep the order in which they were given.", r"\w+\.tags\[\d\]: .*"),
    Difference(
        "A link keeps filters and fields, so that who follows it meets the same list.",
        r"\w+_links\[\d\]\.href: {base}.*[?&]marker=.*, here http.*[?&](fields|tags|protocol)=.*",
    ),
    Difference("No link to an empty page.", r"pools_links: (1 in the list, here 0|2 in the list, here 1)"),
    Difference(
        "The page before a marker is the one just before it.",
        r"pools(\[\d\]\.name|_links\[\d\]\.href): .*",
        ("lists: pools[?]limit=2&page_reverse=True&marker={bravo}",),
    ),
    Difference(
        "Columns of Octavia's database are no attributes.",
        r"status: 200 , here 400 One or more arguments are either duplicate or invalid",
        ("lists: *enabled=*", "lists: *topology=*", "lists: *ip_address=*", "lists: *insert_headers=*"),
    ),
    Difference(
        "A status tree ignores arguments, as every other answer about one object does.",
        r"status: 400 Unknown argument: \"fields\", here 200 .*",
        ("lists: fields of a status tree",),
    ),
)

FIELDS = (
    Difference(
        "Addresses are shown in one form.",
        r"member\.address: .*:.*, here .*:.*",
        ("members: create address *",),
    ),
    Difference("A flag is true or false.", r"listener\.hsts_include_subdomains: null, here false"),
)

NETWORK = (
    Difference(
        "QoS policies and security groups are notes: nothing here applies them.",
        r"status: 400 (qos_policy|Security Group) .* not found\., here 20[01] .*",
        ("load_balancers: *",),
    ),
)

STATES = (
    Difference(
        "Nobody is at the addresses of the recorded members; Octavia was told that they pass their checks.",
        r"[\w.\[\]]+\.operating_status: (ONLINE|DRAINING), here (ERROR|DEGRADED)",
    ),
    Difference(
        "What a disabled parent does not serve is OFFLINE; Octavia leaves it at what was last reported.",
        r"[\w.\[\]]+\.operating_status: (ONLINE|ERROR|NO_MONITOR), here OFFLINE",
        ("states: tree: *", "members: batch: update one, leave one out, listed"),
    ),
    Difference(
        "Pools and policies are never in ERROR here: they have no flow of their own that could fail.",
        r"status: 409 (Pool|L7Policy) .* is immutable .*, here 20[01] .*|pool\.members: 2 in the list, here 3",
        ("states: pool in ERROR: *", "states: policy in ERROR: *"),
    ),
)

OFFERS = (
    Difference(
        "There is one provider more: fastlb, under its own name.", r"providers: 2 in the list, here 3"
    ),
    Difference(
        "What capabilities describe has no effect here.",
        r"(flavor|availability_zone)_capabilities\[\d\]\.description: .* Kept, and without effect here\.",
    ),
    Difference(
        "A zone has no effect: it does not say on which networks VIPs may be.",
        r"status: 400 .*Supplied VIP network_id is not allowed.*, here 201 .*",
        ("administration: create load balancer zone_of_other_networks",),
    ),
    Difference(
        "A profile's provider must be there, also when it is changed.",
        r"status: 200 , here 400 Provider 'f5' is not enabled\.",
    ),
    Difference(
        "Projects without limits of their own are not listed; Octavia lists those whose objects it counts.",
        r"quotas: \d in the list, here 0",
        ("rights: *: GET quotas*",),
    ),
    Difference("No link to an empty page of quotas.", r"quotas_links: 1 in the list, here 0"),
    Difference(
        "There are no machines behind an amphora, nor what only machines have.",
        r"amphorae\[\d\]\.(compute_id|compute_flavor|image_id|cached_zone|lb_network_ip|vrrp_\w+): .*, here null",
    ),
)

DIFFERENCES = (*WORDS, *REFUSED, *MORE, *NOT_YET, *ROUTES, *LISTS, *FIELDS, *NETWORK, *STATES, *OFFERS)
