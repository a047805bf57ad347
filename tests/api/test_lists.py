# SPDX-License-Identifier: Apache-2.0
"""Lists as Octavia's API gives them: filters, tags, fields, order, pages and their links."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from fastlb.api.call import Caller

INVALID = "One or more arguments are either duplicate or invalid"
NOWHERE = "00000000-0000-4000-8000-000000000000"


def load_balancer(api, **fields):
    # Nothing listens: they may have one address.
    return api.load_balancer(vip_address="127.0.0.1", **fields)


@pytest.fixture
def three(api):
    """a, b and c, in this order of creation."""
    return [
        load_balancer(api, name="b", description="first", tags=["red", "blue"]),
        load_balancer(api, name="c", description="second", tags=["red"], admin_state_up=False),
        load_balancer(api, name="a", description="second"),
    ]


def names(api, path="/loadbalancers", **query):
    return [row["name"] for row in api.get(path, **query)]


def followed(api, path, **query):
    """Names page by page, as a client goes that takes only the query of a `next` link."""
    pages = []
    while query is not None:
        body = api.call("GET", path, params=query, expect=200).json()
        pages.append([row["name"] for row in body["loadbalancers"]])
        following = [link for link in body["loadbalancers_links"] if link["rel"] == "next"]
        query = dict(parse_qsl(urlsplit(following[0]["href"]).query)) if following else None
    return pages


def test_a_list_is_in_the_order_of_creation_and_has_its_links_key(api, three):
    body = api.call("GET", "/loadbalancers", expect=200).json()
    assert list(body) == ["loadbalancers", "loadbalancers_links"]
    assert [row["name"] for row in body["loadbalancers"]] == ["b", "c", "a"]
    assert body["loadbalancers_links"] == []


def test_an_empty_list_is_an_answer(api):
    assert api.call("GET", "/loadbalancers").json() == {"loadbalancers": [], "loadbalancers_links": []}


def test_filters_are_exact_and_all_must_fit(api, three):
    assert names(api, description="second") == ["c", "a"]
    assert names(api, description="second", name="a") == ["a"]
    assert names(api, description="Second") == []
    assert names(api, description="sec") == []


def test_what_a_show_has_is_what_a_list_can_be_filtered_by(api, three):
    for name, value in api.get(f"/loadbalancers/{three[2]['id']}").items():
        if isinstance(value, str | bool) and name != "tenant_id":
            assert "a" in names(api, **{name: value}), name


def test_nothing_equals_null(api, three):
    assert names(api, flavor_id="") == []
    assert names(api, flavor_id="None") == []


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes", "on", "t", "y"])
def test_these_words_are_true(api, three, text):
    assert names(api, admin_state_up=text) == ["b", "a"]


@pytest.mark.parametrize("text", ["false", "0", "no", "", "2", "wahr"])
def test_every_other_word_is_false(api, three, text):
    assert names(api, admin_state_up=text) == ["c"]


def test_id_is_a_filter_and_need_not_be_a_uuid(api, three):
    assert names(api, id=three[1]["id"]) == ["c"]
    assert names(api, id=NOWHERE) == []
    assert names(api, id="c") == []


@pytest.mark.parametrize("argument", ["colour=red", "tenant_id=x", "loadbalancer_id=x", "listeners=x"])
def test_an_unknown_filter_is_refused(api, argument):
    assert api.refused("GET", f"/loadbalancers?{argument}", 400) == INVALID


@pytest.mark.parametrize("query", ["name=a&name=b", "limit=1&limit=2", "sort=id&sort=name"])
def test_an_argument_that_has_one_value_is_given_once(api, three, query):
    assert api.refused("GET", f"/loadbalancers?{query}", 400) == INVALID


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ("tags=red", ["b", "c"]),
        ("tags=red&tags=blue", ["b"]),
        ("tags=red,blue", ["b"]),
        ("tags-any=red,blue", ["b", "c"]),
        ("tags-any=blue&tags-any=green", ["b"]),
        ("not-tags=red,blue", ["c", "a"]),
        ("not-tags=red", ["a"]),
        ("not-tags-any=red,green", ["a"]),
        ("not-tags-any=green", ["b", "c", "a"]),
        ("tags=red&not-tags=blue", ["c"]),
        ("tags=green", []),
    ],
)
def test_tags(api, three, query, there):
    assert names(api, f"/loadbalancers?{query}") == there


def test_fields_are_named_one_by_one(api, three):
    rows = api.get("/loadbalancers?fields=name&fields=description&name=a")
    assert rows == [{"name": "a", "description": "second"}]
    assert api.get("/loadbalancers?fields=id,name&name=a") == [{}]
    assert api.get("/loadbalancers?fields=name&fields=colour&name=a") == [{"name": "a"}]


def test_a_show_has_fields_too_and_ignores_every_other_argument(api, three):
    path = f"/loadbalancers/{three[0]['id']}"
    assert api.get(f"{path}?fields=name&pool_id=x&limit=x") == {"name": "b"}


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ("sort=name", ["a", "b", "c"]),
        ("sort=name:desc", ["c", "b", "a"]),
        ("sort=name:DESC", ["c", "b", "a"]),
        ("sort=description:desc,name", ["a", "c", "b"]),
        ("sort=description", ["b", "c", "a"]),
        ("sort_key=name", ["a", "b", "c"]),
        ("sort_key=description,name&sort_dir=desc,asc", ["a", "c", "b"]),
        ("sort_key=description,name&sort_dir=desc", ["a", "c", "b"]),
        ("sort_key=name&sort_dir=asc,desc", ["a", "b", "c"]),
        ("sort_dir=desc", ["b", "c", "a"]),
        ("sort=admin_state_up,created_at:desc", ["c", "a", "b"]),
        ("sort=updated_at,id:asc&fields=name&name=a", ["a"]),
    ],
)
def test_order(api, three, query, there):
    assert names(api, f"/loadbalancers?{query}") == there


def test_a_key_or_direction_that_cannot_be_sorted_by_is_refused(api):
    assert api.refused("GET", "/loadbalancers?sort=colour", 400) == "Supplied sort key 'colour' is not valid."
    assert api.refused("GET", "/loadbalancers?sort_key=tags", 400) == "Supplied sort key 'tags' is not valid."
    refusal = api.call("GET", "/loadbalancers?sort=name:up", expect=400).json()
    assert refusal == {
        "code": 400,
        "title": "Bad Request",
        "description": "Supplied sort direction 'up' is not valid.",
    }


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
@pytest.mark.parametrize("sort", ["", "name:desc"])
def test_pages_have_every_row_once_and_the_last_leads_nowhere(api, three, limit, sort):
    pages = followed(api, "/loadbalancers", limit=limit, sort=sort)
    assert [name for page in pages for name in page] == (["c", "b", "a"] if sort else ["b", "c", "a"])
    assert [len(page) for page in pages] == ([limit] * 3)[: 3 // limit] + [3 % limit] * (3 % limit > 0)


def test_the_next_page_keeps_the_filters(api, three):
    assert followed(api, "/loadbalancers", limit=1, description="second") == [["c"], ["a"]]
    assert followed(api, "/loadbalancers", limit=1, tags="red,blue") == [["b"]]


def test_a_link_names_the_address_that_the_caller_used(api, three):
    url = f"{api.url}/v2.0/loadbalancers"
    body = api.session.get(f"{url}?limit=1&sort=name:asc").json()
    assert body["loadbalancers_links"] == [
        {"rel": "next", "href": f"{url}?limit=1&sort=name:asc&marker={three[2]['id']}"}
    ]


def test_a_page_after_a_marker_leads_back_to_the_page_before_it(api, three):
    ids = {row["name"]: row["id"] for row in three}
    body = api.call("GET", f"/loadbalancers?limit=1&marker={ids['c']}").json()
    assert [link["rel"] for link in body["loadbalancers_links"]] == ["previous"]
    back = urlsplit(body["loadbalancers_links"][0]["href"]).query
    assert back == f"limit=1&marker={ids['a']}&page_reverse=True"
    body = api.call("GET", f"/loadbalancers?{back}").json()
    assert [row["name"] for row in body["loadbalancers"]] == ["c"], "the page just before it, not the first"
    assert [link["rel"] for link in body["loadbalancers_links"]] == ["previous", "next"]
    body = api.call("GET", f"/loadbalancers?limit=2&marker={ids['a']}&page_reverse=True").json()
    assert [row["name"] for row in body["loadbalancers"]] == ["b", "c"]
    assert [link["rel"] for link in body["loadbalancers_links"]] == ["next"]


def test_a_marker_need_not_pass_the_filters(api, three):
    marker = three[0]["id"]
    assert names(api, description="second", marker=marker) == ["c", "a"]
    assert names(api, description="second", marker=marker, page_reverse="true") == ["c", "a"]


def test_a_marker_that_nothing_has_is_refused(api, three):
    assert api.refused("GET", f"/loadbalancers?marker={NOWHERE}", 400) == (
        f"Supplied pagination marker '{NOWHERE}' is not valid."
    )


@pytest.mark.parametrize("limit", ["0", "-1", "infinite", "5000", "1000"])
def test_these_limits_are_none(api, three, limit):
    body = api.call("GET", f"/loadbalancers?limit={limit}", expect=200).json()
    assert [row["name"] for row in body["loadbalancers"]] == ["b", "c", "a"]
    assert body["loadbalancers_links"] == []


@pytest.mark.parametrize("limit", ["x", "", "1.5", "9" * 5000])
def test_a_limit_that_is_no_number_is_refused(api, limit):
    assert (
        api.refused("GET", f"/loadbalancers?limit={limit}", 400)
        == f"Supplied pagination limit '{limit}' is not valid."
    )


def test_a_caller_sees_the_objects_of_its_own_project(api):
    mine = load_balancer(api, name="mine", project_id="p1")
    load_balancer(api, name="theirs", project_id="p2")
    assert names(api) == ["mine", "theirs"]
    assert names(api, project_id="p2") == ["theirs"]
    theirs = api.get("/loadbalancers", name="theirs")[0]["id"]
    api.called_by(Caller(project_id="p1"))
    assert names(api) == ["mine"]
    assert names(api, project_id="p1") == ["mine"]
    api.refused("GET", "/loadbalancers?project_id=p2", 403)
    refusal = api.refused("GET", f"/loadbalancers?marker={theirs}", 400)
    assert refusal == f"Supplied pagination marker '{theirs}' is not valid."
    assert api.get(f"/loadbalancers/{mine['id']}")["name"] == "mine"
