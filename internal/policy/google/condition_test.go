package google_test

import (
	"strings"
	"testing"

	"github.com/keyturn/keyturn/internal/policy"
	"github.com/keyturn/keyturn/internal/policy/google"
)

// conditions are expressions, and whether they hold for the key at noon of 29 November 2026.
var conditions = map[string]policy.Decision{
	"true": allowed, "false": denied, " ( true ) ": allowed, "!false": allowed, "!!true": allowed, "!true": denied,

	`request.time < timestamp("2026-11-29T12:00:01Z")`: allowed, `request.time < timestamp("2026-11-29T12:00:00Z")`: denied,
	`request.time <= timestamp("2026-11-29T12:00:00Z")`: allowed, `request.time <= timestamp("2026-11-29T11:59:59.999Z")`: denied,
	`request.time > timestamp("2026-11-29T11:59:59Z")`: allowed, `request.time > timestamp("2026-11-29T12:00:00Z")`: denied,
	`request.time >= timestamp("2026-11-29T12:00:00Z")`: allowed, `request.time >= timestamp("2026-11-29T12:00:01Z")`: denied,
	`request.time == timestamp("2026-11-29T12:00:00Z")`: allowed, `request.time == timestamp("2026-11-29T12:00:01Z")`: denied,
	`request.time != timestamp("2026-11-29T12:00:01Z")`: allowed, `request.time != timestamp("2026-11-29T13:00:00+01:00")`: denied,
	`timestamp('2026-11-29T12:00:01Z') > request.time`: allowed, `timestamp("2026-11-29T12:00:01Z") < request.time`: denied,
	`request.time < timestamp("2027-01-01")`: cannotTell, `request.time < "2027-01-01T00:00:00Z"`: cannotTell,
	`request.time < timestamp("2027-01-01T00:00:00Z", "x")`: cannotTell, `request.time < date("2027-01-01T00:00:00Z")`: cannotTell,
	`request.time.getHours("Europe/Berlin") >= 9`: cannotTell, `request.time < timestamp("2027-01-01T00:00:00Z") + duration("1h")`: cannotTell,
	`request.times < timestamp("2027-01-01T00:00:00Z")`: cannotTell, `time < timestamp("2027-01-01T00:00:00Z")`: cannotTell,
	`timestamp("2027-01-01T00:00:00Z")`: cannotTell, `request.time`: cannotTell, `request.time in timestamp("2027-01-01T00:00:00Z")`: cannotTell,

	`resource.name == "` + key + `"`: allowed, `"` + key + `" == resource.name`: allowed, `resource.name == "` + key + `2"`: denied,
	`resource.name == "` + ring + `"`: denied, `resource.name != "` + ring + `"`: allowed, `resource.name != "` + key + `"`: denied,
	`resource.name.startsWith("` + ring + `/")`: allowed, `resource.name.startsWith("projects/keys-prod2/")`: denied, `resource.name.startsWith("projects/keys-")`: allowed,
	`resource.name.startsWith("")`: allowed, `resource.name.endsWith("/cryptoKeys/store")`: allowed, `resource.name.endsWith("/store2")`: denied,
	`!resource.name.startsWith("` + ring + `")`: denied, `!resource.name.endsWith("/other")`: allowed,
	`resource.name.startsWith("projects/123/locations/us-east1/")`: cannotTell, `resource.name.startsWith("projects/123/locations/us-west1/")`: denied,
	`resource.name == "` + strings.Replace(key, "keys-prod", "123", 1) + `"`: cannotTell, `"` + strings.Replace(key, "keys-prod", "123", 1) + `" == resource.name`: cannotTell,
	`resource.name != "` + strings.Replace(key, "keys-prod", "123", 1) + `"`: cannotTell, `resource.name == "` + strings.Replace(ring, "keys-prod", "123", 1) + `"`: denied,
	`resource.name.contains("store")`: cannotTell, `resource.name.startsWith("projects/", "x")`: cannotTell, `resource.name.startsWith(resource.name)`: cannotTell,
	`resource.name.startsWith(1)`: cannotTell, `resource.name.extract("projects/{p}/") == "keys-prod"`: cannotTell, `resource.name > "a"`: cannotTell,
	`resource.name.x == "` + key + `"`: cannotTell, `(resource.name) == "` + key + `"`: allowed, `resource.name in ["` + key + `"]`: cannotTell,

	`resource.type == "cloudkms.googleapis.com/CryptoKey"`: allowed, `resource.type == "cloudkms.googleapis.com/KeyRing"`: denied,
	`resource.type != "cloudkms.googleapis.com/KeyRing"`: allowed, `resource.service == "cloudkms.googleapis.com"`: allowed, `resource.service == "storage.googleapis.com"`: denied,
	`resource.type.startsWith("cloudkms.")`: allowed, `"a" == "a"`: allowed, `"a" == 'b'`: denied, `"projects/1" == "projects/x"`: denied,

	`resource.matchTag("9/env", "prod")`: cannotTell, `!resource.hasTagKey("9/env")`: cannotTell, `api.getAttribute("x", []) == []`: cannotTell,
	`"accessPolicies/1/accessLevels/a" in request.auth.access_levels`: cannotTell, `destination.ip == "10.0.0.1"`: cannotTell, `request.auth.claims["x"] == "y"`: cannotTell,

	`true && false`: denied, `true && true`: allowed, `true || false`: allowed, `false || false`: denied, `false || true && true`: allowed, `true || true && false`: allowed, `(true || true) && false`: denied,
	`false && a09_zAZ9.Z("z")`: denied, `false && x@y`: cannotTell, `false && x[y`: cannotTell, `false && x/y:z`: cannotTell, `false && {x`: cannotTell, `false && x.y("z")`: denied, `x.y("z") && false`: denied, `true || x`: allowed, `x || true`: allowed, `x && true`: cannotTell, `false || x`: cannotTell, `!(x && false)`: allowed,
	`!true || true`: allowed, `!(true || true)`: denied, `true ? true : true`: cannotTell, `true == true`: cannotTell, `1 < 2`: cannotTell, `-1 < 2 * (3 - 4) / 5 % 6 + 7`: cannotTell,
	`false && -1 < 2 * (3 - 4) / 5 % 6 + 7`: denied, `false && (x ? y : z)`: denied, `false && [1, 2][0] == {`: cannotTell, `false && f(1, "a", g())[0].h`: denied, `false && -x.y < 1`: denied,

	"": cannotTell, "(": cannotTell, ")": cannotTell, "true true": cannotTell, "true)": cannotTell, "(true": cannotTell, "true &&": cannotTell, "true & true": cannotTell, "true | true": cannotTell,
	`resource.name == "` + key: cannotTell, `resource.name == r"` + key + `"`: cannotTell, `resource.name == """` + key + `"""`: cannotTell, `"a\"" == "a\""`: cannotTell, `true // true`: cannotTell,
	`false && "\n" == "\n"`: cannotTell, `true; false`: cannotTell, `truë`: cannotTell, `f(`: cannotTell, `f(true`: cannotTell, `f(true true)`: cannotTell, `x[true`: cannotTell, `true ?`: cannotTell, `true ? true`: cannotTell, `.`: cannotTell, `x.`: cannotTell,
}

func TestConditions(t *testing.T) {
	for expression, want := range conditions {
		t.Run(expression, func(t *testing.T) {
			expect(t, decrypt(everything().With(key, allow(t, bind(use, serviceAccount, expression)))), want)
			deniedBy := map[policy.Decision]policy.Decision{allowed: denied, denied: allowed, cannotTell: cannotTell}[want]
			expect(t, decrypt(everything().With(project, allow(t, bind(use, serviceAccount))).
				WithDenies(project, deny(t, rule("principalSet://goog/public:all", "", "cloudkms.googleapis.com/*.*", "", expression)))), deniedBy)
		})
	}
	// Service accounts have no resource attributes.
	for expression, want := range map[string]policy.Decision{
		`resource.name == "` + target + `"`: cannotTell, `resource.service == "iam.googleapis.com"`: cannotTell, `resource.type != "x"`: cannotTell,
		`request.time < timestamp("2027-01-01T00:00:00Z")`: allowed,
	} {
		expect(t, impersonate(everything().With(target, allow(t, bind(mint, "serviceAccount:"+crl, expression)))), want)
	}
}

// A condition without an expression, and one that is too long or too deep to be read, are not taken to hold.
func TestConditions_outOfBounds(t *testing.T) {
	empty, err := google.ParsePolicy(`{"bindings":[{"role":"` + use + `","members":["` + serviceAccount + `"],"condition":{}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, decrypt(everything().With(key, empty)), cannotTell)
	for _, r := range []struct {
		expression string
		want       policy.Decision
	}{
		{strings.Repeat("(", 49) + "true" + strings.Repeat(")", 49), allowed}, {strings.Repeat("(", 50) + "true" + strings.Repeat(")", 50), cannotTell},
		{strings.Repeat("(true) && ", 60) + "true", allowed},
		{"true" + strings.Repeat(" ", 4092), allowed}, {"true" + strings.Repeat(" ", 4093), cannotTell}, {strings.Repeat("!", 4000) + "true", allowed},
	} {
		expect(t, decrypt(everything().With(key, allow(t, bind(use, serviceAccount, r.expression)))), r.want)
	}
}

// A key whose URI spells its project by number.
func TestConditions_projectNumber(t *testing.T) {
	numbered := strings.Replace(key, "keys-prod", "123", 1)
	for expression, want := range map[string]policy.Decision{
		`resource.name == "` + numbered + `"`: allowed, `resource.name == "` + strings.Replace(key, "keys-prod", "124", 1) + `"`: denied,
		`resource.name == "` + key + `"`: cannotTell, `resource.name.startsWith("` + ring + `/cryptoKeys/other")`: denied,
	} {
		d := everything().With(numbered, allow(t, bind(use, serviceAccount, expression)))
		d.Parents = map[string][]string{"projects/123": {}, project: {}}
		d.Denies = map[string][]google.DenyPolicy{"projects/123": nil}
		for _, level := range []string{strings.Replace(ring, "keys-prod", "123", 1), "projects/123"} {
			d = d.With(level, google.Policy{})
		}
		expect(t, google.KeyAccess(d, "projects/123/locations/us-east1/keyRings/cmek/cryptoKeys/store", user, at).Verdicts[google.Decrypt], want)
	}
}
