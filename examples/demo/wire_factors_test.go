package main

import (
	"bytes"
	"encoding/json"
	"image/png"
	"net/http"
	"testing"

	"github.com/authkit-go/authkit/authkittest"
	"github.com/authkit-go/authkit/totp"
	"github.com/stretchr/testify/require"
)

// TestWireFactors walks through everything that a user can do with an
// authenticator app, recovery codes and trusted devices, over HTTP.
func TestWireFactors(t *testing.T) {
	t.Parallel()
	base := start(t, testConfig(t))
	document := readContract(t, base)
	do := func(method, path, token, body string) answer {
		t.Helper()
		c := call{method: method, path: path, token: token, body: body}
		if body != "" {
			c.contentType = "application/json"
		}
		a, err := send(base, c)
		require.NoError(t, err)
		document.check(t, a)
		return a
	}
	first := login(t, base, "user@example.com", userPassword)
	require.JSONEq(t, `{"enrolled":[],"available":["otp","pop"],"required":false,"recovery_codes_left":0}`, string(do("GET", factorPath, first, "").body))

	var app totp.Enrollment
	require.NoError(t, json.Unmarshal(do("POST", factorPath+"/otp", first, "").body, &app))
	picture := do("POST", factorPath+"/otp/qr", first, string(mustJSON(t, map[string]string{"uri": app.URI})))
	require.Equal(t, 200, picture.status, "%s", picture.body)
	_, err := png.Decode(bytes.NewReader(picture.body))
	require.NoError(t, err)
	require.Equal(t, 422, do("POST", factorPath+"/otp/qr", first, `{"uri":"https://example.com"}`).status)

	do("POST", factorPath+"/otp/confirm", first, `{"code":"wrong"}`).isProblem(t, 400, "The code is not valid")
	a := do("POST", factorPath+"/otp/confirm", first, string(mustJSON(t, map[string]string{"code": authkittest.TOTPCode(t, app.URI)})))
	require.Equal(t, 200, a.status, "%s", a.body)
	var codes totp.Codes
	require.NoError(t, json.Unmarshal(a.body, &codes))
	require.Len(t, codes.RecoveryCodes, 10)

	// The password alone is not enough any more, from any browser.
	a, err = send(base, loginCall("user@example.com", userPassword))
	require.NoError(t, err)
	require.Equal(t, 400, a.status)
	challenge := a.object(t)
	require.Equal(t, "mfa_required", challenge["error"])
	require.ElementsMatch(t, []any{"otp", "recovery"}, challenge["mfa_methods"])
	a, err = send(base, call{method: "POST", path: "/token", contentType: formType, body: form("grant_type", "mfa",
		"mfa_token", challenge["mfa_token"].(string), "mfa_method", "recovery", "mfa_response", codes.RecoveryCodes[0])})
	require.NoError(t, err)
	require.Equal(t, 200, a.status, "%s", a.body)
	second := a.object(t)["access_token"].(string)
	require.EqualValues(t, 9, do("GET", factorPath, second, "").object(t)["recovery_codes_left"])

	// A trusted device skips the factor, and only it does.
	a = do("POST", devicePath, second, "")
	require.Equal(t, 204, a.status, "%s", a.body)
	cookie := (&http.Response{Header: a.header}).Cookies()[0]
	trusted := loginCall("user@example.com", userPassword)
	trusted.header = http.Header{"Cookie": {cookie.Name + "=" + cookie.Value}}
	a, err = send(base, trusted)
	require.NoError(t, err)
	require.Equal(t, 200, a.status, "%s", a.body)
	third := a.object(t)["access_token"].(string)
	require.Equal(t, 401, do("POST", factorPath+"/recovery", third, "").status, "such a login changes no factor")
	list := do("GET", devicePath, third, "").list(t)
	require.Len(t, list, 1)
	require.Equal(t, 404, do("DELETE", devicePath+"/unknown", third, "").status)
	require.Equal(t, 204, do("DELETE", devicePath+"/"+list[0]["id"].(string), third, "").status)

	require.Equal(t, 200, do("POST", factorPath+"/recovery", second, "").status)
	require.Equal(t, 204, do("DELETE", factorPath+"/otp", second, "").status)
	require.NotEmpty(t, login(t, base, "user@example.com", userPassword))
}

func mustJSON(t *testing.T, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return text
}
