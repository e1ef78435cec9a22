"""All routes, what their handlers are given, and who answers their errors: the HTTP surface put together."""

from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from service.api import (
    artifacts,
    callbacks,
    deliveries,
    endpoints,
    events,
    files,
    groups,
    health,
    node_routes,
    relay,
    runs,
    signing_keys,
)
from service.api.deps import provide_caller, provide_services
from service.api.problems import on_bug, on_caller_error, on_http_error, on_store_error
from service.errors import CallerError, StoreError

ROUTES = (
    node_routes.list_nodes,
    node_routes.show_node,
    node_routes.start_node,
    relay.relay_socket,
    runs.list_runs,
    runs.show_run,
    runs.show_timeline,
    runs.cancel_run,
    runs.adopt_run,
    runs.abandon_run,
    runs.retry_run,
    groups.all_groups,
    groups.show_group,
    groups.close_group,
    groups.cancel_group,
    events.list_events,
    events.stream_events,
    deliveries.replay_event,
    endpoints.all_endpoints,
    endpoints.one_endpoint,
    endpoints.enable_endpoint,
    endpoints.disable_endpoint,
    endpoints.send_test_event,
    endpoints.show_secrets,
    endpoints.rotate_secret,
    endpoints.recover_endpoint,
    deliveries.list_deliveries,
    deliveries.show_delivery,
    deliveries.retry_delivery,
    artifacts.send_artifact,
    files.upload_file,
    files.show_or_delete_file,
    callbacks.receive_callback,
    signing_keys.show_signing_keys,
    health.healthz,
    health.readyz,
    health.metrics,
    health.openapi,
    health.asyncapi,
)
DEPENDENCIES = {
    "services": Provide(provide_services, sync_to_thread=False),
    "caller": Provide(provide_caller),
}
EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    CallerError: on_caller_error,
    StoreError: on_store_error,
    HTTPException: on_http_error,
    Exception: on_bug,
}
