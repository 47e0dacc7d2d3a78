"""moto_server with Route53 batches that are strict, atomic and serialised, as AWS documents them.

usage: strict_moto_server.py [-H 127.0.0.1] -p PORT        (the flags of moto_server; needs pip's moto[server])

Stock moto deletes by name and type, so that a stale compare-and-swap batch succeeds there. Rules here, from
AWS's API reference of ChangeResourceRecordSets:
- a batch is checked in order against a working copy and swapped in whole, or not at all;
- CREATE fails if the set exists; DELETE must equal the current set in every member given;
- what fails is InvalidChangeBatch (400) with every failed change named.
STRICT_R53_RPS=5          answer `Throttling` above so many change batches a second
STRICT_R53_PRIOR_MS=50    hold the zone so long, and answer PriorRequestNotComplete to a batch that overlaps
Assumed, not verified on AWS: checks run in order; optional members that a DELETE omits are not compared.
Laxer than AWS still: record values and the existence of health checks are not checked.
"""
import collections
import copy
import os
import threading
import time

from moto.core.exceptions import ServiceException
from moto.route53 import models as m
from moto.route53.exceptions import InvalidActionValue, Route53ClientError
from moto.route53.utils import validate_domain_name
import moto.server

RPS = float(os.environ.get("STRICT_R53_RPS", 0))
PRIOR = float(os.environ.get("STRICT_R53_PRIOR_MS", 0)) / 1000
LOCK, BUSY, HITS = threading.Lock(), set(), collections.deque()

class Bad(Exception):
    pass


def fail(msg, code="InvalidChangeBatch"):
    raise Bad(msg) if code == "InvalidChangeBatch" else Route53ClientError(code, msg)

MEMBERS = (("TTL", "ttl"), ("Weight", "weight"), ("Region", "region"), ("Failover", "failover"),
           ("HealthCheckId", "health_check_id"), ("MultiValueAnswer", "multi_value_answer"),
           ("GeoLocation", "geo_location"), ("AliasTarget", "alias_target"))

def norm(n):
    n = n.lower()
    return n if n.endswith(".") else n + "."

def num(v):
    return None if v is None else str(v).lower()

def key(n, t, s):
    return (norm(n), t, s)

def apply(zone, changes):
    work, errors = collections.OrderedDict(), []
    for r in zone.rrsets:
        work[key(r.name, r.type, r.set_identifier)] = r
    for ch in changes:
        try:
            one(zone, work, ch)
        except Bad as e:
            errors.append(str(e))
    if errors:   # AWS lists every failed change, bracketed (real body quoted in aws-sdk-kotlin PR 1435)
        raise Route53ClientError("InvalidChangeBatch", "[" + ", ".join(errors) + "]")
    zone.rrsets = list(work.values())


def one(zone, work, ch):
    act, rs = ch["Action"], ch["ResourceRecordSet"]
    name = norm(rs["Name"])
    validate_domain_name(rs["Name"], code="InvalidChangeBatch")
    if act not in ("CREATE", "UPSERT", "DELETE"):
        raise InvalidActionValue(act)
    if not ("." + name).endswith("." + norm(zone.name)):
        fail(f"RRSet with DNS name {name} is not permitted in zone {zone.name}")
    alias, vals = rs.get("AliasTarget"), [v["Value"] for v in rs.get("ResourceRecords") or []]
    if not alias and (rs.get("TTL") is None or not vals):
        fail(f"Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or "
             f"TrafficPolicyInstanceId], but found none in Change with [Action={act}, Name={name}, "
             f"Type={rs['Type']}, SetIdentifier={rs.get('SetIdentifier','null')}]", "InvalidInput")
    k = key(name, rs["Type"], rs.get("SetIdentifier"))
    tag = f"[name='{name}', type='{rs['Type']}'" + (f", set-identifier='{k[2]}'" if k[2] else "") + "]"
    cur = work.get(k)
    if act == "DELETE":
        if cur is None:
            fail(f"Tried to delete resource record set {tag} but it was not found")
        # optional members a caller leaves out are not compared (moto PR 7153: Terraform omits them);
        # TTL, values and alias target always are.
        same = sorted(cur.records or []) == sorted(vals) and all(
            num(rs.get(a)) == num(getattr(cur, b)) for a, b in MEMBERS
            if a in rs or a == "AliasTarget" or (a == "TTL" and not alias))   # moto gives aliases a TTL of 0
        if not same:
            fail(f"Tried to delete resource record set {tag} but the values provided do not match the current values")
        del work[k]
        return
    if act == "CREATE" and cur is not None:
        fail(f"Tried to create resource record set {tag} but it already exists")
    new = dict(rs, Name=name)
    if "ResourceRecords" in new:
        new["ResourceRecords"] = vals
    routed = any(new.get(a) is not None for a in ("Weight", "Region", "Failover", "GeoLocation", "MultiValueAnswer"))
    if bool(k[2]) != routed:
        fail(f"Invalid request: SetIdentifier and a routing policy are required together for {tag}", "InvalidInput")
    for (n2, t2, s2), r2 in work.items():
        if n2 == name and ((t2 == rs["Type"] and bool(s2) != bool(k[2])) or
                           ("CNAME" in (t2, rs["Type"]) and t2 != rs["Type"])):
            fail(f"RRSet {tag} conflicts with an existing record set of the same name")
    work[k] = m.RecordSet(new)

def change(self, zoneid, change_list):
    zone, now = self.get_hosted_zone(zoneid), time.time()
    with LOCK:
        if RPS:
            while HITS and HITS[0] < now - 1: HITS.popleft()
            if len(HITS) >= RPS: fail("Rate exceeded", "Throttling")
            HITS.append(now)
        if zoneid in BUSY:
            fail("The request was rejected because Route 53 was still processing a prior request.", "PriorRequestNotComplete")
        apply(zone, copy.deepcopy(change_list))
        if PRIOR: BUSY.add(zoneid)
    if PRIOR:
        time.sleep(PRIOR); BUSY.discard(zoneid)

m.Route53Backend.change_resource_record_sets = change
if __name__ == "__main__":
    moto.server.main()
