"""Drives a fleet with a client that is not hafleet's own: what grpcio-tools generates from the proto files.

The environment says where: ENDPOINTS (HOST:PORT, separated by commas), IDENTITY (the directory of a certificate),
STUBS (the generated modules), SPEC and OTHER_SPEC (texts that the fleet takes; the fleet begins without any).
"""

import os
import sys
import time
import unittest

import grpc
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from google.protobuf.descriptor_pool import DescriptorPool

sys.path.insert(0, os.environ["STUBS"])
from hafleet.v1 import admin_pb2, admin_pb2_grpc  # noqa: E402

ENDPOINTS = os.environ["ENDPOINTS"].split(",")
LIMIT = 30


def read(name):
    with open(os.path.join(os.environ["IDENTITY"], name), "rb") as file:
        return file.read()


def channel(endpoint=ENDPOINTS[0]):
    credentials = grpc.ssl_channel_credentials(read("ca.pem"), read("key.pem"), read("cert.pem"))
    return grpc.secure_channel(endpoint, credentials)


def details(error, kind):
    """The details of `kind` in the rich status of an error."""
    found = []
    for packed in rpc_status.from_call(error).details:
        message = kind()
        if packed.Unpack(message):
            found.append(message)
    return found


class Admin(unittest.TestCase):
    def setUp(self):
        self.channel = channel()
        self.admin = admin_pb2_grpc.AdminStub(self.channel)

    def tearDown(self):
        self.channel.close()

    def apply(self, spec, **fields):
        return self.admin.ApplySpec(admin_pb2.ApplySpecRequest(spec=spec, **fields), timeout=LIMIT)

    def refused(self, call, *arguments, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **fields)
        return caught.exception

    def test_1_status_names_every_node_and_one_leader(self):
        for endpoint in ENDPOINTS:
            with channel(endpoint) as one:
                status = admin_pb2_grpc.AdminStub(one).GetStatus(admin_pb2.GetStatusRequest(), timeout=LIMIT)
            self.assertEqual([node.id for node in status.nodes], ["n1", "n2", "n3"])
            self.assertEqual({node.liveness for node in status.nodes}, {admin_pb2.NodeStatus.LIVENESS_LIVE})
            self.assertEqual([node.id for node in status.nodes if node.leader], [status.leadership.leader])
            self.assertEqual(status.majority, 2)
            self.assertFalse(status.HasField("spec"))
            self.assertAlmostEqual(status.at.ToSeconds(), time.time(), delta=60)

    def test_2_there_is_no_spec_before_the_first(self):
        error = self.refused(self.admin.GetSpec, admin_pb2.GetSpecRequest(), timeout=LIMIT)
        self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)

    def test_3_a_watcher_sees_a_write_arrive_on_every_node(self):
        watch = self.admin.WatchStatus(admin_pb2.WatchStatusRequest(), timeout=2 * LIMIT)
        self.assertEqual(len(next(watch).nodes), 3)
        written = self.apply(os.environ["SPEC"], comment="from Python")
        self.assertTrue(written.committed)
        self.assertGreaterEqual(len(written.stored_by), 2)
        revision = written.revision.revision
        self.assertEqual(written.revision.author, "ada (admin)")
        for status in watch:
            if {node.apply.running_revision for node in status.nodes} == {revision}:
                break
        else:
            self.fail(f"the stream ended before all nodes ran {revision}")
        self.assertEqual({node.apply.state for node in status.nodes}, {admin_pb2.ApplyStatus.STATE_APPLIED})
        watch.cancel()
        self.assertEqual(self.admin.GetSpec(admin_pb2.GetSpecRequest(), timeout=LIMIT).spec, os.environ["SPEC"])

    def test_4_every_fault_of_a_spec_is_a_field_violation(self):
        spec = os.environ["SPEC"].replace("default_backend: app", "default_backend: gone")
        spec = spec.replace("port: 8080", "port: 0")
        for call in (
            lambda: self.apply(spec),
            lambda: self.admin.CheckSpec(admin_pb2.CheckSpecRequest(spec=spec), timeout=LIMIT),
            lambda: self.admin.PlanSpec(admin_pb2.PlanSpecRequest(spec=spec), timeout=LIMIT),
        ):
            error = self.refused(call)
            self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
            (bad_request,) = details(error, error_details_pb2.BadRequest)
            violations = {violation.field: violation.description for violation in bad_request.field_violations}
            self.assertEqual(set(violations), {"frontends[0].binds[0].port", "frontends[0].default_backend"})
            self.assertRegex(violations["frontends[0].default_backend"], r"^6:\d+: .*gone")

    def test_5_a_revision_that_is_none_is_a_field_violation(self):
        error = self.refused(self.admin.GetSpec, admin_pb2.GetSpecRequest(revision="newest"), timeout=LIMIT)
        self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
        (bad_request,) = details(error, error_details_pb2.BadRequest)
        self.assertEqual([violation.field for violation in bad_request.field_violations], ["revision"])
        error = self.refused(self.admin.GetSpec, admin_pb2.GetSpecRequest(revision="99.1"), timeout=LIMIT)
        self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)

    def test_6_a_stale_expectation_names_the_current_revision(self):
        first = self.admin.GetSpec(admin_pb2.GetSpecRequest(), timeout=LIMIT).revision.revision
        second = self.apply(os.environ["OTHER_SPEC"], expected_revision=first).revision.revision
        error = self.refused(self.apply, os.environ["SPEC"], expected_revision=first)
        self.assertEqual(error.code(), grpc.StatusCode.ABORTED)
        (info,) = details(error, error_details_pb2.ErrorInfo)
        self.assertEqual((info.reason, info.metadata["current"]), ("REVISION_CONFLICT", second))
        history = self.admin.ListSpecHistory(admin_pb2.ListSpecHistoryRequest(), timeout=LIMIT)
        self.assertEqual([info.revision for info in history.revisions], [second, first])

    def test_7_agents_answer_health_checks(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        for service in ("", "hafleet.v1.Admin"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=LIMIT)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING, service)

    def test_8_agents_describe_themselves(self):
        stub_calls = admin_pb2.DESCRIPTOR.services_by_name["Admin"].methods_by_name.keys()
        database = ReflectionV1(self.channel)
        self.assertIn("hafleet.v1.Admin", database.get_services())
        self.assertIn("grpc.health.v1.Health", database.get_services())
        service = DescriptorPool(database).FindServiceByName("hafleet.v1.Admin")
        self.assertEqual(set(service.methods_by_name.keys()), set(stub_calls))

    def test_9_a_caller_without_a_certificate_is_refused(self):
        anonymous = grpc.secure_channel(ENDPOINTS[0], grpc.ssl_channel_credentials(read("ca.pem")))
        admin = admin_pb2_grpc.AdminStub(anonymous)
        error = self.refused(admin.GetStatus, admin_pb2.GetStatusRequest(), timeout=5)
        self.assertIn(error.code(), (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED))
        anonymous.close()


class ReflectionV1(ProtoReflectionDescriptorDatabase):
    """grpcio's reflection client, which speaks v1alpha, over v1: the messages are the same."""

    def __init__(self, connection):
        super().__init__(_Renamed(connection))


class _Renamed:
    def __init__(self, connection):
        self._connection = connection

    def stream_stream(self, method, **options):
        return self._connection.stream_stream(method.replace(".v1alpha.", ".v1."), **options)


if __name__ == "__main__":
    unittest.main(verbosity=2)
