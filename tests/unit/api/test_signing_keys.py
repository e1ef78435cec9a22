"""Public keys as they are shown, against the example of RFC 8037."""

import base64

from service.api.signing_keys import key_view

X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"  # RFC 8037, appendix A.2


def test_a_key_is_shown_as_the_standards_write_it():
    """The thumbprint is that of RFC 8037, appendix A.3; `whpk_` has the same bytes in plain Base64."""
    shown = key_view(base64.urlsafe_b64decode(X + "="))

    assert (shown.x, shown.kid) == (X, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
    assert shown.whpk == "whpk_" + X.replace("_", "/").replace("-", "+") + "="
