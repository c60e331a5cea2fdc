package totp

// The mechanisms under test.
var (
	HOTP              = hotp
	CodeAt            = codeAt
	StepOf            = stepOf
	ParseCode         = parseCode
	ParseRecoveryCode = parseRecoveryCode
	KeyURI            = keyURI
	Timed             = timedStoreOf
)
