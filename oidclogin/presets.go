package oidclogin

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"regexp"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
)

// Google returns the provider of Google accounts. Its Email is [EmailVerified].
func Google(clientID, clientSecret string) Provider {
	return Provider{
		Name: "google", Label: "Google", Issuer: "https://accounts.google.com",
		ClientID: clientID, ClientSecret: clientSecret, Email: EmailVerified,
	}
}

// tenantID is the form of the ID of a tenant.
var tenantID = regexp.MustCompile(`^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`)

// Microsoft returns the provider of the accounts of one tenant of Microsoft
// Entra, by its ID, such as "72f988bf-86f1-41af-91ab-2d7cd011db47". Tenants such
// as "common" are refused, because every customer of Microsoft could log in. Its
// Email must stay [EmailIgnored], because an administrator of a tenant can set
// any address.
func Microsoft(tenant, clientID, clientSecret string) Provider {
	p := Provider{
		Name: "microsoft", Label: "Microsoft", Issuer: "https://login.microsoftonline.com/" + tenant + "/v2.0",
		ClientID: clientID, ClientSecret: clientSecret, neverEmail: true,
	}
	if !tenantID.MatchString(tenant) {
		p.err = errors.New("the tenant is no ID; use the directory ID of your tenant, in lower case")
	}
	return p
}

// Apple returns the provider of Apple accounts. Read the key from the file
// AuthKey_KEYID.p8, with jwt.ParseECPrivateKeyFromPEM of
// github.com/golang-jwt/jwt/v5. It signs a client secret for every login, so no
// secret has to be renewed. Its Email is [EmailVerified].
func Apple(clientID, teamID, keyID string, key *ecdsa.PrivateKey) Provider {
	p := Provider{
		Name: "apple", Label: "Apple", Issuer: "https://appleid.apple.com", ClientID: clientID, Email: EmailVerified, Scopes: []string{"name", "email"},
		formPost: true, textVerified: true, params: []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("response_mode", "form_post")},
	}
	p.secret = func(at time.Time) (string, error) {
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
			"iss": teamID, "sub": clientID, "aud": p.Issuer, "iat": at.Unix(), "exp": at.Add(5 * time.Minute).Unix(),
		})
		token.Header["kid"] = keyID
		return token.SignedString(key)
	}
	if teamID == "" || keyID == "" || key == nil {
		p.err = errors.New("the team ID, the key ID or the key is missing")
	}
	return p
}

// GitHub returns the provider of GitHub accounts, which has no OpenID Connect.
// The identity is the number of the account, because a login name can be given
// to another person. The address is the primary one, if it is verified. Its Email
// is [EmailVerified].
func GitHub(clientID, clientSecret string) Provider {
	return Provider{
		Name: "github", Label: "GitHub", Issuer: "https://github.com/login/oauth", ClientID: clientID, ClientSecret: clientSecret,
		Email: EmailVerified, Scopes: []string{"read:user", "user:email"}, person: githubPerson,
		endpoint: &oauth2.Endpoint{
			AuthURL: "https://github.com/login/oauth/authorize", TokenURL: "https://github.com/login/oauth/access_token",
			AuthStyle: oauth2.AuthStyleInParams,
		},
	}
}

// githubPerson reads the account and its addresses.
func githubPerson(ctx context.Context, get getter) (person, error) {
	const api = "https://api.github.com/user"
	var user struct {
		ID          int64
		Login, Name string
	}
	var emails []struct {
		Email             string
		Primary, Verified bool
	}
	if err := errors.Join(get(ctx, api, &user), get(ctx, api+"/emails", &emails)); err != nil {
		return person{}, err
	}
	if user.ID <= 0 {
		return person{}, errors.New("the account has no number")
	}
	who := person{Subject: strconv.FormatInt(user.ID, 10), Name: user.Name}
	for _, e := range emails {
		if e.Primary && e.Verified {
			who.setEmail(e.Email, true)
		}
	}
	return who, nil
}
