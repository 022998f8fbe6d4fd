"""Version, cluster and identity."""

from __future__ import annotations

from typing import Any

from betterproto.lib.google.protobuf import Empty
from grpc import StatusCode
from pachyderm_sdk.api import admin, auth, version

from chandlery.embedded.pachd.rpc.calls import Call, rpc
from chandlery.embedded.pachd.store.failure import ServiceError

VERSION = (2, 12, 2)  # the API spoken


@rpc("/versionpb_v2.API/GetVersion", Empty)
def get_version(call: Call, request: Any) -> Any:
    """Return the version of the API, marked as embedded."""
    major, minor, micro = VERSION
    return version.Version(major=major, minor=minor, micro=micro, additional="-embedded")


@rpc("/admin_v2.API/InspectCluster", admin.InspectClusterRequest)
def inspect_cluster(call: Call, request: Any) -> Any:
    """Return the identity of the store."""
    return admin.ClusterInfo(id="embedded", deployment_id="embedded", warnings_ok=True)


@rpc("/auth_v2.API/WhoAmI", auth.WhoAmIRequest)
def who_am_i(call: Call, request: Any) -> Any:
    """Refuse, as a pachd without auth does."""
    raise ServiceError(StatusCode.UNIMPLEMENTED, "the auth service is not activated")
