package simulator

import (
	"encoding/json"
	"net/url"
	"slices"
)

// jwtIssuer is the schema JWTIssuer. Issuers are kept and shown; tokens of theirs are not accepted here.
type jwtIssuer struct {
	ID          string        `json:"id"`
	IssuerURL   string        `json:"issuer_url"`
	Audience    string        `json:"audience"`
	JWKS        string        `json:"jwks"`
	Claim       string        `json:"claim"`
	IdentityMap []jwtIdentity `json:"identity_map"`
}

type jwtIdentity struct {
	TokenIdentity string `json:"token_identity"`
	// CCIdentity is a user's e-mail address or a service account's id.
	CCIdentity string `json:"cc_identity"`
}

// change takes over the fields of the body, and checks the whole.
func (i *jwtIssuer) change(call *cloudCall) *cloudError {
	id := i.ID
	if failed := call.decode(i); failed != nil {
		return failed
	}
	i.ID = id
	issuer, err := url.Parse(i.IssuerURL)
	switch {
	case i.IssuerURL == "":
		return badRequest("issuer_url is required")
	case err != nil || issuer.Scheme != "https" || issuer.Host == "":
		return badRequest("invalid issuer_url %q: want an https URL", i.IssuerURL)
	case i.Audience == "":
		return badRequest("audience is required")
	case i.JWKS != "" && !json.Valid([]byte(i.JWKS)):
		return badRequest("invalid jwks: want a JSON Web Key Set")
	case slices.ContainsFunc(i.IdentityMap, func(e jwtIdentity) bool { return e.TokenIdentity == "" || e.CCIdentity == "" }):
		return badRequest("identity_map: token_identity and cc_identity are required")
	}
	setDefault(&i.Claim, "sub")
	i.IdentityMap = orEmpty(i.IdentityMap)
	return nil
}

func (w *World) listJWTIssuers(call *cloudCall) (any, *cloudError) {
	page, failed := w.pageRequest(call, "jwt-issuers")
	if failed != nil {
		return nil, failed
	}
	result := struct {
		JWTIssuers []jwtIssuer `json:"jwt_issuers"`
		Pagination *pagination `json:"pagination"`
	}{JWTIssuers: []jwtIssuer{}}
	result.Pagination = w.cut(page, len(w.jwtIssuers), func(i int) bool {
		result.JWTIssuers = append(result.JWTIssuers, w.jwtIssuers[i])
		return true
	})
	return result, nil
}

func (w *World) addJWTIssuer(call *cloudCall) (any, *cloudError) {
	issuer := jwtIssuer{ID: w.uuid()}
	if failed := issuer.change(call); failed != nil {
		return nil, failed
	}
	w.jwtIssuers = append(w.jwtIssuers, issuer)
	w.auditJWTIssuer(call, "AUDIT_LOG_ACTION_ADD_JWT_ISSUER", issuer)
	return issuer, nil
}

// pathJWTIssuer is the index of the issuer that the path names.
func (w *World) pathJWTIssuer(call *cloudCall) (int, *cloudError) {
	id := call.PathValue("id")
	i := slices.IndexFunc(w.jwtIssuers, func(issuer jwtIssuer) bool { return issuer.ID == id })
	if i < 0 {
		return 0, notFound("JWT issuer '%s' not found", id)
	}
	return i, nil
}

func (w *World) getJWTIssuer(call *cloudCall) (any, *cloudError) {
	i, failed := w.pathJWTIssuer(call)
	if failed != nil {
		return nil, failed
	}
	return w.jwtIssuers[i], nil
}

func (w *World) updateJWTIssuer(call *cloudCall) (any, *cloudError) {
	i, failed := w.pathJWTIssuer(call)
	if failed != nil {
		return nil, failed
	}
	issuer := w.jwtIssuers[i]
	issuer.IdentityMap = slices.Clone(issuer.IdentityMap) // which the body may overwrite in place
	if failed := issuer.change(call); failed != nil {
		return nil, failed
	}
	w.jwtIssuers[i] = issuer
	w.auditJWTIssuer(call, "AUDIT_LOG_ACTION_UPDATE_JWT_ISSUER", issuer)
	return issuer, nil
}

func (w *World) deleteJWTIssuer(call *cloudCall) (any, *cloudError) {
	i, failed := w.pathJWTIssuer(call)
	if failed != nil {
		return nil, failed
	}
	issuer := w.jwtIssuers[i]
	w.jwtIssuers = slices.Delete(w.jwtIssuers, i, i+1)
	w.auditJWTIssuer(call, "AUDIT_LOG_ACTION_DELETE_JWT_ISSUER", issuer)
	return issuer, nil
}

func (w *World) auditJWTIssuer(call *cloudCall, action string, issuer jwtIssuer) {
	w.addAudit(call, action, nil, map[string]any{"id": issuer.ID, "issuer_url": issuer.IssuerURL}, "")
}
