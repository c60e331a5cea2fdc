package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// factorAttacks log in without the second factor, or with one that is not good.
var factorAttacks = []Attack{
	{ID: "factor.skipped", Text: "A user with a second factor logs in with the password alone.", Requirement: "MF-06", Source: "ASVS 6.3.3", Severity: Critical, needs: needFactor | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			account, _, err := p.enrolled(ctx)
			if err != nil {
				return err
			}
			a, err := p.form(ctx, credentials(account), nil)
			return p.noTokens(a, err)
		}},
	{ID: "factor.pending-token", Text: "The token of a login that lacks the second factor is sent as an access token.", Requirement: "MF-15", Source: "ASVS 6.3.3", Severity: Critical, needs: needFactor | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			_, pending, err := p.begun(ctx)
			if err != nil {
				return err
			}
			return p.refuseTokens(ctx, pending)
		}},
	{ID: "factor.pending-refresh", Text: "The token of a login that lacks the second factor is exchanged as a refresh token.", Requirement: "MF-15", Source: "ASVS 6.3.3", Severity: Critical, needs: needFactor | needNewAccount | needForm | needRefresh,
		run: func(ctx context.Context, p *probe) error {
			_, pending, err := p.begun(ctx)
			if err != nil {
				return err
			}
			a, err := p.exchange(ctx, pending)
			return p.noTokens(a, err)
		}},
	{ID: "factor.wrong", Text: "The response to the second factor is wrong, empty or of another type.", Requirement: "MF-04", Source: "ASVS 6.5.1", Severity: Critical, needs: needFactor | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, wrong := range []string{"", " ", "000000", "null", "true", "0", "[]", strings.Repeat("9", 5000)} {
				_, pending, err := p.begun(ctx) // of an account that has no failures
				if err != nil {
					return err
				}
				a, err := p.answer(ctx, pending, p.FactorMethod, wrong)
				if err := p.noTokens(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "factor.other-method", Text: "The response names another method, such as the password.", Requirement: "MF-06", Source: "ASVS 6.3.3", Severity: Critical, needs: needFactor | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			for _, method := range []string{"pwd", "password", "none", "", "email"} {
				account, _, err := p.enrolled(ctx)
				if err != nil {
					return err
				}
				pending, err := p.pending(ctx, account)
				if err != nil {
					return err
				}
				a, err := p.answer(ctx, pending, method, account.Password)
				if err := p.noTokens(a, err); err != nil {
					return err
				}
			}
			return nil
		}},
	{ID: "factor.reuse", Text: "A response that was used is used again.", Requirement: "MF-02", Source: "ASVS 6.5.1; RFC 6238 section 5.2", Severity: High, needs: needFactor | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			account, responses, err := p.enrolled(ctx)
			if err != nil {
				return err
			}
			if err := p.complete(ctx, account, responses[0]); err != nil {
				return err
			}
			pending, err := p.pending(ctx, account)
			if err != nil {
				return err
			}
			a, err := p.answer(ctx, pending, p.FactorMethod, responses[0])
			return p.noTokens(a, err)
		}},
	{ID: "factor.race", Text: "Many requests use one response at once.", Requirement: "MF-02", Source: "ASVS 15.4.2", Severity: High, needs: needFactor | needNewAccount | needForm | needRefresh,
		run: func(ctx context.Context, p *probe) error {
			responses, pending, err := p.begun(ctx)
			if err != nil {
				return err
			}
			logins, err := p.race(ctx, 16, p.response(pending, p.FactorMethod, responses[0]))
			if err == nil && len(logins) == 0 {
				return errors.New("none of the right responses completed a login")
			}
			if err == nil && len(logins) > 1 {
				return succeeded("one response completed %d logins", len(logins))
			}
			return err
		}},
	{ID: "factor.pending-reuse", Text: "A login that was completed is completed again with another response.", Requirement: "MF-05", Source: "ASVS 6.3.3", Severity: Medium, needs: needFactor | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			responses, pending, err := p.begun(ctx)
			if err != nil {
				return err
			}
			a, err := p.answer(ctx, pending, p.FactorMethod, responses[0])
			if err != nil {
				return err
			}
			if !a.ok() {
				return fmt.Errorf("a right response to the second factor has status %d", a.status)
			}
			a, err = p.answer(ctx, pending, p.FactorMethod, responses[1])
			return p.noTokens(a, err)
		}},
	{ID: "factor.other-account", Text: "A user responds with the second factor of another account.", Requirement: "MF-12", Source: "ASVS 8.2.2", Severity: Critical, needs: needFactor | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			victim, _, err := p.enrolled(ctx)
			if err != nil {
				return err
			}
			_, responses, err := p.enrolled(ctx)
			if err != nil {
				return err
			}
			pending, err := p.pending(ctx, victim)
			if err != nil {
				return err
			}
			a, err := p.answer(ctx, pending, p.FactorMethod, responses[0])
			return p.noTokens(a, err)
		}},
	{ID: "factor.guess", Text: "A hundred responses are guessed, with a new login for every few of them.", Requirement: "MF-13", Source: "NIST SP 800-63B section 3.2.2", Severity: High, needs: needFactor | needNewAccount | needForm,
		run: func(ctx context.Context, p *probe) error {
			account, responses, err := p.enrolled(ctx)
			if err != nil {
				return err
			}
			for i := range 34 {
				pending, err := p.pending(ctx, account)
				if errors.Is(err, errBlocked) {
					return nil
				}
				if err != nil {
					return err
				}
				for j := range 3 {
					a, err := p.answer(ctx, pending, p.FactorMethod, fmt.Sprintf("%06d", i*3+j))
					if err != nil {
						return err
					}
					if a.status == http.StatusTooManyRequests {
						return nil
					}
				}
			}
			switch err := p.complete(ctx, account, responses[0]); {
			case err == nil:
				return succeeded("the service compared a hundred responses")
			case errors.Is(err, errBlocked):
				return nil
			default:
				return err
			}
		}},
}

// enrolled returns a new account with a second factor, and responses to
// it.
func (p *probe) enrolled(ctx context.Context) (Account, []string, error) {
	account, err := p.fresh(ctx, firstPassword)
	if err != nil {
		return Account{}, nil, err
	}
	responses, err := p.Enroll(ctx, account)
	if err == nil && len(responses) < 4 {
		err = errors.New("Target.Enroll returns less than four responses")
	}
	p.hide(responses...)
	return account, responses, err
}

// begun returns the token of a login that lacks the second factor, of an account
// that nothing else uses, and responses to the factor.
func (p *probe) begun(ctx context.Context) (responses []string, pending string, err error) {
	account, responses, err := p.enrolled(ctx)
	if err != nil {
		return nil, "", err
	}
	pending, err = p.pending(ctx, account)
	return responses, pending, err
}

// errBlocked is returned for an account that has had too many failures.
var errBlocked = errors.New("the service blocks the account")

// pending logs in with the password, and returns the token of the login that
// lacks the second factor.
func (p *probe) pending(ctx context.Context, account Account) (string, error) {
	a, err := p.form(ctx, credentials(account), nil)
	if err != nil {
		return "", err
	}
	if a.ok() {
		return "", succeeded("the password alone logs in")
	}
	if a.status == http.StatusTooManyRequests || a.status == http.StatusUnauthorized {
		return "", errBlocked
	}
	var body struct {
		Token string `json:"mfa_token"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || body.Token == "" {
		return "", fmt.Errorf("the response to the password has status %d and no mfa_token", a.status)
	}
	p.hide(body.Token)
	return body.Token, nil
}

func (p *probe) response(pending, method, response string) url.Values {
	return url.Values{"grant_type": {"mfa"}, "mfa_token": {pending}, "mfa_method": {method}, "mfa_response": {response}}
}

// answer sends a response to the second factor.
func (p *probe) answer(ctx context.Context, pending, method, response string) (*answer, error) {
	return p.form(ctx, p.response(pending, method, response), nil)
}

// complete logs in with a response that is good.
func (p *probe) complete(ctx context.Context, account Account, response string) error {
	pending, err := p.pending(ctx, account)
	if err != nil {
		return err
	}
	a, err := p.answer(ctx, pending, p.FactorMethod, response)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusTooManyRequests || a.status == http.StatusUnauthorized:
		return errBlocked
	case !a.ok():
		return fmt.Errorf("a right response to the second factor has status %d", a.status)
	}
	return nil
}
