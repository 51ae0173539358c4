package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Location names a store: dynamodb://TABLE or s3://BUCKET/PREFIX, each optionally followed by ?region=REGION; firestore://PROJECT/DATABASE,
// gs://BUCKET/PREFIX, or file:PATH.
type Location struct {
	// Scheme is dynamodb, s3, firestore, gs or file; "" for no location.
	Scheme string
	// Name is the table, the bucket, the project or the path.
	Name string
	// Prefix is what follows the bucket, ending in a slash if not empty. Of Firestore it is the database; "" is the project's default one.
	Prefix string
	// Region overrides the AWS Region; "" for the environment's.
	Region string
}

// ParseLocation reads a location.
func ParseLocation(s string) (Location, error) {
	wrong := fmt.Errorf("%q is not a location; want dynamodb://TABLE, s3://BUCKET/PREFIX, firestore://PROJECT/DATABASE, gs://BUCKET/PREFIX or file:PATH", s)
	if path, ok := strings.CutPrefix(s, "file:"); ok {
		if path = strings.TrimPrefix(path, "//"); path == "" {
			return Location{}, errors.New("file: names no path; want file:PATH")
		}
		return Location{Scheme: "file", Name: path}, nil
	}
	if scheme, rest, _ := strings.Cut(s, "://"); scheme == "firestore" || scheme == "gs" {
		return parseGoogle(scheme, rest, wrong)
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return Location{}, wrong
	}
	l := Location{Scheme: u.Scheme, Name: u.Host, Prefix: strings.Trim(u.Path, "/")}
	if l.Region, err = parseParameters(u); err != nil {
		return Location{}, fmt.Errorf("%q %w", s, err)
	}
	switch {
	case l.Scheme == "s3":
		if l.Prefix != "" {
			l.Prefix += "/"
		}
	case l.Scheme != "dynamodb" || l.Prefix != "":
		return Location{}, wrong
	}
	return l, nil
}

// parseGoogle reads what follows the scheme. It is no URL: the id of a project may have a colon, as in example.com:acme, and the name of a
// database has parentheses if it is (default).
func parseGoogle(scheme, rest string, wrong error) (Location, error) {
	name, inside, _ := strings.Cut(rest, "/")
	inside = strings.Trim(inside, "/")
	switch {
	case name == "" || strings.ContainsAny(rest, "?#@ "), scheme == "firestore" && strings.Contains(inside, "/"):
		return Location{}, wrong
	case scheme == "gs" && inside != "":
		inside += "/"
	}
	return Location{Scheme: scheme, Name: name, Prefix: inside}, nil
}

// parseParameters returns the Region, the only parameter that there is.
func parseParameters(u *url.URL) (region string, err error) {
	given, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" || u.User != nil {
		return "", errors.New("is not a location; want nothing after it but ?region=REGION")
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		switch values := given[name]; {
		case name != "region" && Near(name, []string{"region"}) != "":
			return "", fmt.Errorf("has the parameter %q, which is unknown: did you mean region?", name)
		case name != "region":
			return "", fmt.Errorf("has the parameter %q, which is unknown; want ?region=REGION or nothing", name)
		case len(values) > 1 || values[0] == "":
			return "", errors.New("names no Region, or several; want ?region=REGION")
		default:
			region = values[0]
		}
	}
	return region, nil
}

// UnmarshalText reads a location.
func (l *Location) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLocation(string(text))
	return err
}

// String writes the location as [ParseLocation] reads it.
func (l Location) String() string {
	switch l.Scheme {
	case "":
		return ""
	case "file":
		return "file:" + l.Name
	}
	s := l.Scheme + "://" + l.Name
	if l.Prefix != "" {
		s += "/" + l.Prefix
	}
	if l.Region != "" {
		s += "?region=" + url.QueryEscape(l.Region)
	}
	return s
}

// CheckScheme refuses a location of another kind than the variable is for; want is the form that it should have. That one is missing, or
// could not be read, is reported already.
func (l Location) CheckScheme(variable, want string) (problems []error) {
	if scheme, _, _ := strings.Cut(want, "://"); l.Scheme != "" && l.Scheme != scheme {
		problems = append(problems, fmt.Errorf("%s is %s; want %s", variable, l, want))
	}
	return problems
}
