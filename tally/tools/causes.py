"""Known errors of Terraform, Chalice and AWS: their cause, and what to do, in the operator's words."""

import re
from collections.abc import Callable
from dataclasses import dataclass

_CREDENTIALS = "aws sso login, or AWS_PROFILE, or AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A known error message, and its meaning."""

    pattern: re.Pattern[str]
    means: Callable[[re.Match[str]], str]


def _cause(pattern: str, means: str | Callable[[re.Match[str]], str]) -> Cause:
    """Return a cause whose meaning is a text, or a function of the match."""
    explained = means if callable(means) else lambda _found: means
    return Cause(pattern=re.compile(pattern, re.DOTALL), means=explained)


def _locked(found: re.Match[str]) -> str:
    since = found["created"].partition(".")[0]
    return (
        f"Terraform's state is locked by {found['who']} since {since} UTC. Wait if that deployment still works. If it "
        f"was killed, free the state with `terraform -chdir=infra force-unlock {found['id']}`, with the stage's "
        "workspace selected"
    )


def _denied(found: re.Match[str]) -> str:
    where = f" on {found['resource'].rstrip('.')}" if found["resource"] else ""
    return (
        f"{found['who']} has no right to {found['action']}{where}. Grant it, or deploy with the role of "
        "infra/examples/deploy_role, which has every right that a deployment needs"
    )


_EXISTS = (
    r"BucketAlreadyOwnedByYou|EntityAlreadyExists|Table already exists|ResourceAlreadyExistsException|"
    r"QueueAlreadyExists|QueueNameExists|AlreadyExistsException|ResourceConflictException: "
    r"(?:The event source arn|An event source mapping|Function already exist)"
)

_CAUSES = [
    _cause(
        r"Error acquiring the state lock.*?ID:\s+(?P<id>\S+).*?Who:\s+(?P<who>\S+).*?Created:\s+(?P<created>[^\n]+)",
        _locked,
    ),
    _cause(
        r"errored\.tfstate|Failed to (?:save|persist) state",
        "Terraform changed AWS and could not save its state, which is in infra/errored.tfstate. Save it with "
        "`terraform -chdir=infra state push errored.tfstate`, then remove that file",
    ),
    _cause(
        r"ExpiredToken|[Tt]oken (?:included in the request )?(?:is|has) expired|InvalidGrantException|"
        r"SSO session .{0,80}expired|RequestExpired",
        f"Your AWS credentials have expired. Renew them ({_CREDENTIALS})",
    ),
    _cause(
        r"(?P<who>(?:User: )?arn:\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)"
        r"(?: (?:on|with) resource: (?P<resource>\S+))?",
        _denied,
    ),
    _cause(
        r"No valid credential sources|InvalidClientTokenId|UnrecognizedClientException|SignatureDoesNotMatch|"
        r"InvalidAccessKeyId|Unable to locate credentials|NoCredentialsError|failed to refresh cached credentials|"
        r"AuthFailure",
        f"AWS does not accept your credentials. Set them ({_CREDENTIALS})",
    ),
    _cause(
        r"AccessDenied|AuthorizationError|UnauthorizedOperation|status code: 403|StatusCode: 403",
        "Your credentials lack a right, which the message below names. Grant it, or deploy with the role of "
        "infra/examples/deploy_role, which has every right that a deployment needs",
    ),
    _cause(
        r"BucketAlreadyExists\b",
        "Another AWS account has a bucket of this name. Choose another --stage",
    ),
    _cause(
        _EXISTS,
        "Something of this stage exists that Terraform's state does not know. A deployment on another machine was "
        "cut short, or it used another state. Use the same state backend; if there is no other state, "
        "`tally deploy --adopt` takes over what exists",
    ),
    _cause(
        r"Instance cannot be destroyed",
        "The plan would destroy an event source mapping of Chalice's. `tally deploy` repairs Chalice's record first, "
        "and `tally destroy` deletes the functions first: use these",
    ),
    _cause(
        r"Backend (?:initialization required|configuration changed)|Backend configuration block has changed",
        "The state backend of this checkout has changed. Move the state with "
        "`terraform -chdir=infra init -migrate-state`, or leave it where it is with `-reconfigure`",
    ),
    _cause(
        r"Failed to query available provider packages|could not connect to registry|Failed to install provider",
        "Terraform cannot get its AWS provider. Check the network, the proxy, or the mirror in your Terraform CLI "
        "configuration",
    ),
    _cause(
        r"Value for undeclared variable|No variable named|Invalid value for variable|Invalid value for input variable",
        "A Terraform variable has a wrong name or value. infra/variables*.tf and the message below say what is allowed",
    ),
    _cause(
        r"no such host|Could not connect to the endpoint|Invalid AWS Region|dial tcp|EndpointConnectionError",
        "AWS cannot be reached. Check AWS_REGION for a typing error, then the network and the proxy",
    ),
    _cause(
        r"LimitExceeded|TooManyBuckets|ServiceQuotaExceeded|UnreservedConcurrentExecution|QuotaExceeded",
        "A quota of this account is used up. Ask for more in the console under Service Quotas, or remove what is "
        "not needed",
    ),
    _cause(
        r"cannot be assumed by Lambda|update is in progress|ResourceConflictException|OperationAborted",
        "AWS has not finished an earlier change yet. Wait a minute",
    ),
    _cause(
        r"Throttling|TooManyRequests|Rate exceeded|RequestLimitExceeded|SlowDown|ServiceUnavailable",
        "AWS was asked too often, or is overloaded. Wait a minute",
    ),
    _cause(
        r"Could not unzip|InvalidParameterValueException.{0,80}zip",
        "The package is damaged. Remove app/.chalice/deployments",
    ),
    _cause(
        r"RequestEntityTooLarge|Unzipped size must be smaller|CodeStorageExceeded|Connection aborted",
        "The package is too large for Lambda or the connection broke. Remove requirements that no job needs, or "
        "check the network",
    ),
    _cause(r"No space left on device|no space left on device", "The disk of this machine is full. Make room"),
    _cause(
        r"(?:ModuleNotFoundError|ImportError|SyntaxError|NameError|SettingsError|FatalError): (?P<why>[^\n]+)",
        lambda found: f"The app does not load: {found['why']}. Correct it",
    ),
]
"""In order: the first match explains."""


def failure(returncode: int, text: str) -> str:
    """Return the cause of a tool's failure and what to do, without a last full stop; ``text`` is its whole output."""
    if returncode < 0:
        return f"Something killed it (signal {-returncode}), perhaps for want of memory"
    return explain(text) or "Correct what it says below"


def exists_already(text: str) -> bool:
    """Tell whether a tool failed because a resource exists that Terraform's state does not know."""
    return bool(re.search(_EXISTS, text))


def explain(text: str) -> str:
    """Return the meaning of a tool's message and what to do, without a last full stop; empty if unknown."""
    for cause in _CAUSES:
        if found := cause.pattern.search(text):
            return cause.means(found)
    return ""
