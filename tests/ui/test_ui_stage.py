"""The page of a stage in a real browser: queues, stream, functions, dead letters, doctor."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from selenium.webdriver.common.by import By

from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.items import ChunkKey, Outcome, bits, number
from chalicelib.store.marker import ReasonCode, markers, unsuccessful
from chalicelib.transport.messages import WorkMessage, encode
from tally.stages.function_metrics import Window
from tally.stages.gate import Gate
from tally.stages.stage import Resources, Stage
from tally.ui.budget import MAX_REQUESTS_A_SECOND, paced
from tally.ui.stage_feed import StageFeed
from tests.ui import yards
from tests.ui.test_ui_budget import Time, steps
from tests.ui.yards import CLOUD, LOCAL, Yard
from tests.unit.tally import finished_batch

REPORT = "REPORT RequestId: {0}\tDuration: {0}00 ms\tBilled Duration: {0}00 ms\tMemory Size: 512 MB\tMax"


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yield from yards.yard(tmp_path_factory.mktemp("yard"))


@pytest.fixture(scope="module")
def local(yard: Yard) -> str:
    """Return where the pages of a console of the local stage are, which does not show data."""
    return enter(yard, LOCAL)


@pytest.fixture(scope="module")
def cloud(yard: Yard) -> str:
    return enter(yard, CLOUD)


def enter(yard: Yard, stage: str, *options: str) -> str:
    return yard.console(stage, *options).url


def open_stage(browser: Any, url: str) -> None:
    browser.open(url)  # which has the token
    browser.open(f"{url.partition('?')[0]}stage")


def row(browser: Any, first: str) -> list[str]:
    """Return the cells of the table row that begins with a name."""

    def found() -> list[str] | None:
        for line in browser.driver.find_elements(By.CSS_SELECTOR, "tbody tr"):
            cells = [cell.text for cell in line.find_elements(By.TAG_NAME, "td")]
            if cells and cells[0] == first:
                return cells
        return None

    cells: list[str] = browser.wait(found, f"a row of {first}")
    return cells


def purge(yard: Yard, stage: str) -> None:
    for name in ("work", "work-dlq", "export", "export-dlq", "plan-failures", "dead-letters"):
        yard.client("sqs").purge_queue(QueueUrl=yard.url(stage, name))


def test_every_queue_shows_what_waits_and_its_dead_letters(browser: Any, yard: Yard, local: str) -> None:
    purge(yard, LOCAL)
    for _ in range(3):
        yard.send(LOCAL, "work", "{}")
    yard.send(LOCAL, "export-dlq", "{}")
    yard.client("sqs").receive_message(QueueUrl=yard.url(LOCAL, "work"), VisibilityTimeout=600)
    yard.client("sqs").send_message(QueueUrl=yard.url(LOCAL, "work"), MessageBody="{}", DelaySeconds=600)
    open_stage(browser, local)
    assert row(browser, "work") == ["work", "2", "1", "1", "-", "0"]
    assert row(browser, "export") == ["export", "0", "0", "0", "-", "1"]
    browser.says("the stream's readers are behind is not known: a local stage does not measure it")


def test_functions_of_a_local_stage_are_counted_in_their_logs(browser: Any, yard: Yard, local: str) -> None:
    """Its CloudWatch does not count what queues start: a 0 or a 1 of it would be a lie."""
    dimensions = [{"Name": "FunctionName", "Value": f"tally-{LOCAL}-process"}]
    yard.client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda", MetricData=[{"MetricName": "Invocations", "Value": 999, "Dimensions": dimensions}]
    )
    yard.log(LOCAL, "process", REPORT.format(1), REPORT.format(30), "Traceback (most recent call last):")
    open_stage(browser, yard.console(LOCAL).url)
    assert row(browser, "process") == ["process", "2", "-", "-", "1.6 s", "3.0 s"]
    assert row(browser, "plan") == ["plan", "-", "-", "-", "-", "-"]
    browser.says("a local stage does not count errors and throttles")


def test_functions_and_ages_of_a_stage_in_aws_are_those_of_cloudwatch(browser: Any, yard: Yard) -> None:
    cloudwatch = yard.client("cloudwatch")
    yard.send(CLOUD, "work", "{}")
    for name, values in {"Invocations": [1, 1], "Errors": [0, 1], "Throttles": [0, 0], "Duration": [100, 300]}.items():
        for value in values:
            put(cloudwatch, "AWS/Lambda", name, "FunctionName", f"tally-{CLOUD}-process", value)
    put(cloudwatch, "AWS/Lambda", "IteratorAge", "FunctionName", f"tally-{CLOUD}-settle", 90_000)
    put(cloudwatch, "AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", f"tally-{CLOUD}-work", 77)
    open_stage(browser, enter(yard, CLOUD))
    assert row(browser, "process") == ["process", "2", "1", "0", "200 ms", "300 ms"]
    assert row(browser, "plan") == ["plan", "-", "-", "-", "-", "-"]
    assert row(browser, "work") == ["work", "1", "0", "0", "77 s", "0"]
    browser.says("settle is 1 min 30 s behind", "by CloudWatch")


def test_a_window_is_chosen_and_a_stage_without_figures_says_so(browser: Any, yard: Yard) -> None:
    made = yards.Yard(home=yard.home, server=yard.server, consoles=yard.consoles)
    made.fill("quiet")
    open_stage(browser, made.console("quiet").url)
    browser.says("This stage has no figures since", "no function has run")
    put(made.client("cloudwatch"), "AWS/Lambda", "Invocations", "FunctionName", "tally-quiet-plan", 5)
    browser.driver.find_element(By.CSS_SELECTOR, "input[aria-label='Of']").click()
    option = "//div[@role='option'][contains(., '7 days')]"
    browser.wait(lambda: browser.driver.find_element(By.XPATH, option).click() or True, "the choice of windows")
    assert row(browser, "plan")[:2] == ["plan", "5"]


LETTER = WorkMessage(batch="b", chunk=0, generation=1, rows=[0], raised={0: "ValueError: no '4711' of x17"})


def letters(yard: Yard) -> None:
    """Put a dead letter into each kind of queue, about a batch that is there or is gone."""
    purge(yard, LOCAL)
    chunk = Chunk(key=ChunkKey("b", 0), start=0, end=1, first_line=2, expected_rows=1)
    counted = {"rows": number(1), "done": bits(RowBits.first(1)), "version": number(2)}
    failed = unsuccessful(0, Outcome.FAILED, ReasonCode.DEAD_LETTERED, "dead-lettered")
    found = markers(chunk.key, 2, [failed], counted_at=finished_batch.AT, expires_at=finished_batch.EXPIRES_AT)
    items = [finished_batch.BATCH.to_item(), chunk.to_item() | counted, *(each.to_item() for each in found)]
    yards.write(yard, LOCAL, items)
    yard.send(LOCAL, "work-dlq", encode(replace(LETTER, batch="gone-1")))
    yard.send(LOCAL, "dead-letters", encode(LETTER), queue=f"tally-{LOCAL}-work-dlq")
    yard.send(
        LOCAL, "export-dlq", json.dumps({"batch": "b", "attempt": 1}), ERROR_CODE="E1", ERROR_MESSAGE="secret 'k9'"
    )


def test_each_dead_letter_has_its_reason_and_what_became_of_it_without_its_values(
    browser: Any, yard: Yard, local: str
) -> None:
    letters(yard)
    yard.log(
        LOCAL,
        "dead_letters",
        json.dumps({"message": "dead_letter.returned", "queue": "tally-yard-work-dlq", "rows": 2, "message_id": "m1"}),
        json.dumps({"message": "dead_letter.handled", "queue": "tally-yard-work-dlq", "rows": 3, "counted": 1}),
    )
    open_stage(browser, local)
    browser.click("Show dead letters")
    browser.says(
        "3 in the queues of dead letters.",
        "outcome: its batch is gone, so it is of no use any more",
        "tally dead work-dlq --discard",
        "reason: given up by tally-yard-work-dlq: ValueError: no * of *",
        "outcome: its rows have ended: 1 failed",
        "tally redrive b --rows 0:0 --stage yard",
        "outcome: waits until it is sent again",
        "Bodies and the values in reasons are not shown",
    )
    assert browser.driver.find_element(By.CSS_SELECTOR, "a[href='/batch/b']")
    assert not [secret for secret in ("4711", "x17", "k9", '"rows"') if secret in browser.text]
    browser.driver.find_element(By.XPATH, "//*[contains(text(), 'What dead_letters did')]").click()
    browser.says("sent again: it killed no worker (2 rows)", "1 row failed, 2 had an outcome before")


def test_bodies_are_shown_on_demand_and_a_queue_is_sent_again(browser: Any, yard: Yard) -> None:
    letters(yard)
    open_stage(browser, yard.console(LOCAL, "--show-data").url)
    browser.click("Show dead letters")
    browser.says('"raised":{"0":"ValueError: no \'4711\' of x17"}', "secret 'k9'")
    browser.confirm("Send export-dlq again")
    browser.says("tally dead export-dlq --redrive --stage yard", "1 sent again")
    found = yard.client("sqs").receive_message(QueueUrl=yard.url(LOCAL, "export"), VisibilityTimeout=0)
    assert [json.loads(message["Body"]) for message in found["Messages"]] == [{"batch": "b", "attempt": 1}]
    browser.click("Close")
    browser.click("Show dead letters")
    browser.wait(lambda: "2 in the queues of dead letters." in browser.text, "one less")


def test_a_console_that_only_reads_sends_nothing_again(browser: Any, yard: Yard) -> None:
    letters(yard)
    open_stage(browser, yard.console(LOCAL, "--read-only").url)
    browser.click("Show dead letters")
    browser.says("waits until it is sent again")
    assert not [each for each in browser.driver.find_elements(By.TAG_NAME, "button") if "again" in each.text]


def test_doctor_says_the_worst_first_and_what_to_do(browser: Any, yard: Yard, local: str) -> None:
    open_stage(browser, local)
    browser.click("Examine the stage")
    browser.says("checks: ", "Failed: rows are lost, late or refused", "What to do:")
    text = browser.text
    titles = ["Failed: rows are lost", "As it should be", "Nothing to check"]
    assert sorted(titles, key=text.index) == titles
    assert "queue.dlq: tally-yard-work" in text
    assert "account 000000000000" not in text, "what is well is folded away"
    browser.driver.find_element(By.XPATH, "//*[contains(text(), 'As it should be')]").click()
    browser.says("account 000000000000")


def test_a_stage_costs_three_requests_a_second_and_its_functions_one_a_minute(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in yard.in_cloud().items():
        if name.startswith(("AWS_", "NO_PROXY")):
            monkeypatch.setenv(name, value)
    time, asked = Time(), Counter[str]()
    resources = Resources.read(yard.workspace.aws_outputs(CLOUD))
    assert resources
    stage = paced(Stage(name=CLOUD, resources=resources), Gate(MAX_REQUESTS_A_SECOND, clock=time, sleep=time.sleep))
    stage.session.events.register_last("request-created", time.note)
    stage.session.events.register_last(
        "request-created", lambda operation_name, **_event: asked.update([operation_name])
    )
    feed = StageFeed(stage=stage, clock=time)

    def look() -> None:
        feed.step()
        feed.measure(Window.HOUR)
        feed.measure(Window.HOUR)

    steps(time, look, 45)
    assert asked["GetMetricData"] == 2, "one for all functions, one for all ages"
    assert time.busiest_second <= 3
    assert len(time.requests) <= 2 * time.now / 3, "others can be looked at, too"


def put(cloudwatch: Any, namespace: str, name: str, dimension: str, of: str, value: float) -> None:
    metric = {"MetricName": name, "Value": value, "Dimensions": [{"Name": dimension, "Value": of}]}
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[metric])
