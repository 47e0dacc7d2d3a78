"""Calls an agent's listener as lb-agent's README called lb-agent: with requests, on loopback, without any key.

The environment says what the load balancer is to listen on and where servers are: PORT, and SERVERS (HOST:PORT,
separated by commas). The fleet begins without any spec.
"""

import os
import time
import unittest

import requests

URL = "http://127.0.0.1:6666"
LIMIT = 40

HAPROXY_TEMPLATE = """\
global
    log         127.0.0.1 local2
    pidfile     /var/run/haproxy.pid
    maxconn     4000
    daemon

defaults
    mode                    http
    log                     global
    option                  httplog
    option                  dontlognull
    option http-server-close
    option forwardfor       except 127.0.0.0/8
    option                  redispatch
    retries                 3
    timeout http-request    10s
    timeout queue           1m
    timeout connect         10s
    timeout client          1m
    timeout server          1m
    timeout http-keep-alive 10s
    timeout check           10s
    maxconn                 300


frontend  main
    bind *:{port}
    default_backend             scaling_nodes


#---------------------------------------------------------------------
# round robin balancing between the various backends
#---------------------------------------------------------------------
backend scaling_nodes
    balance     roundrobin
""".format(port=os.environ["PORT"])

HAPROXY_TEMPLATE = "\n".join(
    [HAPROXY_TEMPLATE]
    + [
        "server  node{} {} check inter 200ms".format(number, server)
        for number, server in enumerate(os.environ["SERVERS"].split(","), 1)
    ]
    + ["server  node9 127.0.0.1:1 check inter 200ms", "\n"]
)


class LbAgent(unittest.TestCase):
    def states(self, path="/getBackends", **arguments):
        resp = requests.post(URL + path, timeout=LIMIT, **arguments)
        self.assertEqual(resp.status_code, 200, resp.text)
        answer = resp.json()
        self.assertIs(answer["success"], True)
        for server in answer["message"]:
            self.assertEqual(sorted(server), ["description", "instance_id", "state"])
        return {server["instance_id"]: server["state"] for server in answer["message"]}

    def wait_states(self, expected, path="/getBackends"):
        deadline = time.monotonic() + LIMIT
        while self.states(path) != expected:
            self.assertLess(time.monotonic(), deadline, self.states(path))
            time.sleep(0.1)

    def test_1_nothing_runs_yet(self):
        resp = requests.post(URL + "/getBackends", timeout=LIMIT)
        self.assertEqual(resp.status_code, 503)
        self.assertIs(resp.json()["success"], False)

    def test_2_a_configuration_that_haproxy_refuses(self):
        resp = requests.post(URL + "/reloadHaproxy", data="global\n    nonsense 5\n", timeout=LIMIT)
        self.assertEqual(resp.status_code, 400)
        self.assertIs(resp.json()["success"], False)
        self.assertIn("line 2: unknown keyword 'nonsense'", resp.json()["error"])
        resp = requests.post(URL + "/reloadHaproxy", timeout=LIMIT)
        self.assertEqual(resp.status_code, 400)
        self.assertIn("empty", resp.json()["error"])

    def test_3_a_configuration_is_taken(self):
        for _ in range(2):
            resp = requests.post(URL + "/reloadHaproxy", data=HAPROXY_TEMPLATE, timeout=LIMIT)
            self.assertEqual(resp.json(), {"success": True, "message": "Haproxy up to date"})
            self.assertEqual(resp.status_code, 200)

    def test_4_in_pieces(self):
        pieces = (line.encode() + b"\n" for line in HAPROXY_TEMPLATE.split("\n")[:-1])
        resp = requests.post(URL + "/reload", data=pieces, timeout=LIMIT)
        self.assertEqual(resp.json(), {"success": True, "message": "Haproxy up to date"})

    def test_5_the_states_of_the_servers(self):
        expected = {"node1": "UP", "node2": "UP", "node9": "DOWN"}
        self.wait_states(expected)
        self.wait_states(expected, "/getBackends?scope=fleet")
        # So the README has it: what is sent to /getBackends is not looked at.
        self.assertEqual(self.states(data=HAPROXY_TEMPLATE), expected)
        with requests.Session() as session:
            for _ in range(3):
                self.assertEqual(session.get(URL + "/getBackends", timeout=LIMIT).status_code, 200)


if __name__ == "__main__":
    unittest.main(verbosity=2)
