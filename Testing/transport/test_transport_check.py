"""The connection test names the model behind an endpoint, its reply form and latency, or says what is wrong."""

from __future__ import annotations

import pytest

from doubles import fault_server as f
from doubles.fault_scenarios import TIMEOUTS
from doubles.small_models import MODELS, misfit, volume_model
from MedImageParseLib.errors import Cancelled, EndpointError, ReplyError, UsageError
from MedImageParseLib.progress import Cancellation
from MedImageParseLib.tasks.check_endpoint import check_endpoint
from MedImageParseLib.transport.client import EndpointClient, RetryPolicy

ENGINE = "local demo engine, not MedImageParse"


def _check(behavior: f.Behavior, model: str, **options):
    with f.FaultServer([behavior]) as server, EndpointClient(server.url, **options) as client:
        return check_endpoint(client, model), server


@pytest.mark.parametrize("dialect", ["azureml", "mlflow"])
@pytest.mark.parametrize("name", MODELS)
def test_healthy_endpoint_is_named_with_model_latency_and_reply_form(name, dialect):
    for asked in (name, "auto"):
        result, server = _check(MODELS[name](), asked, dialect=dialect)
        assert result.model == name and result.engine == ""
        assert result.latency_s > 0 and result.reply_form and result.reply_form in result.sentence
        assert server.url in result.sentence and "probe" in result.sentence and " s with MedImage" in result.sentence


@pytest.mark.parametrize("name", MODELS)
def test_local_engine_is_not_taken_for_the_published_model(name):
    result, _ = _check(MODELS[name](ENGINE), name)
    assert result.engine == ENGINE and f"with the {ENGINE}" in result.sentence


@pytest.mark.parametrize("asked", MODELS)
@pytest.mark.parametrize("there", MODELS)
def test_another_model_than_asked_for_is_named(asked, there):
    if asked == there:
        assert _check(MODELS[there](), asked)[0].model == asked
        return
    with pytest.raises(ReplyError) as caught:
        _check(MODELS[there](), asked)
    names = {"medimageparse": "MedImageParse", "medimageparse3d": "MedImageParse 3D", "medimageinsight": "MedImageInsight"}
    assert caught.value.code == "wrong-model"
    assert f"with {names[there]} where {names[asked]} was expected" in str(caught.value)


def test_endpoint_that_fails_on_every_probe_is_told_with_the_models_own_status():
    with pytest.raises(EndpointError, match="424: status 500") as caught:
        _check(lambda connection: (connection.read_body(), misfit(connection))[1], "medimageparse3d")
    assert caught.value.code == "424"


def test_probe_is_tiny_and_holds_no_data_of_anybody():
    for name, model in MODELS.items():
        _, server = _check(model(), name)
        assert len(server.requests) == 1 and len(server.requests[0].body) < 50_000


def test_faults_other_than_a_misfit_are_not_probed_further():
    with f.FaultServer([f.status(403)]) as server, EndpointClient(server.url) as client, pytest.raises(EndpointError, match="score/action"):
        check_endpoint(client)
    assert len(server.requests) == 1


def test_check_waits_for_no_long_retry():
    with f.FaultServer([f.status(503)]) as server, EndpointClient(server.url) as client, pytest.raises(EndpointError) as caught:
        check_endpoint(client)
    assert caught.value.tries == 2


def test_check_sends_no_more_often_than_the_person_allows():
    with f.FaultServer([f.status(503)]) as server, EndpointClient(server.url, retry=RetryPolicy(tries=1)) as client:
        with pytest.raises(EndpointError):
            check_endpoint(client)
    assert len(server.requests) == 1


def test_hint_in_url_or_deployment_saves_a_probe():
    with f.FaultServer([volume_model()]) as server, EndpointClient(server.url, deployment="medimageparse-3d-6") as client:
        assert check_endpoint(client).model == "medimageparse3d"
    assert len(server.requests) == 1


def test_reply_of_no_known_form_is_an_error_that_quotes_it():
    with pytest.raises(ReplyError, match="weather"):
        _check(f.ok([{"weather": "fine"}]), "auto")


def test_cancel_ends_a_check():
    cancellation = Cancellation()
    with (
        f.FaultServer([f.hang_before_headers]) as server,
        EndpointClient(server.url, timeouts=TIMEOUTS) as client,
        pytest.raises(Cancelled),
    ):
        check_endpoint(
            client, progress=lambda stage, *_: cancellation.cancel() if stage == "model working" else None, cancellation=cancellation
        )


def test_unknown_model_is_a_sentence():
    with EndpointClient("http://localhost:1/score") as client, pytest.raises(UsageError, match="use auto"):
        check_endpoint(client, "sam")
