package channel

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestOnlyPublicAddressesAreWithinReachUnlessAllowed(t *testing.T) {
	const (
		never, public, private, loopback = "never", "public", "private", "loopback"
	)
	for address, want := range map[string]string{
		"3.5.7.9": public, "1.1.1.1": public, "172.15.255.255": public, "172.32.0.1": public, "100.63.255.255": public,
		"2606:4700::1111": public, "2a00:1450::1": public, "::ffff:1.1.1.1": public, "64:ff9b::101:101": public,

		"10.0.0.1": private, "172.16.0.1": private, "172.31.255.255": private, "192.168.1.1": private, "100.64.0.1": private,
		"fc00::1": private, "fd12:3456::1": private, "::ffff:10.0.0.1": private, "64:ff9b::a00:1": private,

		"127.0.0.1": loopback, "127.255.255.254": loopback, "::1": loopback, "::ffff:127.0.0.1": loopback, "64:ff9b::7f00:1": loopback,

		"169.254.169.254": never, "169.254.170.2": never, "::ffff:169.254.169.254": never, "64:ff9b::a9fe:a9fe": never,
		"fe80::1": never, "fe80::1%eth0": never, "fd00:ec2::254": never, "fd00:ec2::253": never, "fd20:ce::254": never,
		"100.100.100.200": never, "168.63.129.16": never,
		"0.0.0.0": never, "0.1.2.3": never, "::": never, "::7f00:1": never, "192.0.0.192": never, "192.0.2.1": never, "198.19.0.1": never,
		"203.0.113.9": never, "224.0.0.1": never, "239.1.2.3": never, "240.0.0.1": never, "255.255.255.255": never,
		"ff02::1": never, "fec0::1": never, "2001::1": never, "2001:db8::1": never, "2002:a9fe:a9fe::1": never, "64:ff9b:1::a00:1": never, "100::1": never,
	} {
		for _, r := range []struct {
			reach Reach
			name  string
			want  bool
		}{
			{Reach{}, "nothing besides the internet", want == public},
			{Reach{Private: true}, "private networks", want == public || want == private},
			{Reach{Loopback: true}, "loopback", want == public || want == loopback},
			{Reach{Private: true, Loopback: true}, "all that can be allowed", want != never},
		} {
			err := r.reach.check(netip.MustParseAddr(address))
			if got := err == nil; got != r.want {
				t.Errorf("%s with %s allowed: within reach is %t (error %v), want %t", address, r.name, got, err, r.want)
			}
		}
	}
}

func TestAClientChecksTheAddressThatItDialsNotTheName(t *testing.T) {
	var reached int
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ })
	plain, tls := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer tls.Close()
	port := tls.URL[strings.LastIndexByte(tls.URL, ':'):]
	for _, tc := range []struct {
		url   string
		reach Reach
		want  string
	}{
		{tls.URL, Reach{}, "a loopback address"},
		{"https://localhost" + port, Reach{}, "a loopback address"}, // a name that resolves to what is out of reach
		{"https://localhost" + port, Reach{Private: true}, "a loopback address"},
		{"https://[::ffff:127.0.0.1]" + port, Reach{}, "a loopback address"},
		{"https://0.0.0.0" + port, Reach{Private: true, Loopback: true}, "a reserved address"},
		{"https://169.254.169.254/latest/meta-data", Reach{Private: true, Loopback: true}, "a link-local address"},
		{plain.URL, Reach{}, "only https"},
		{plain.URL, Reach{Private: true}, "only https"},
		{"http://10.0.0.1/", Reach{Private: true, Loopback: true}, "plain http is for loopback addresses only"},
		{"ftp://127.0.0.1/", Reach{Loopback: true}, "only https"},
		{tls.URL, Reach{Loopback: true}, "certificate"}, // reached, and its certificate is not trusted
	} {
		resp, err := post(t.Context(), NewClient(tc.reach), tc.url)
		if err == nil {
			resp.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s with %+v: error %v, want it to say %q", tc.url, tc.reach, err, tc.want)
		}
	}
	if reached != 0 {
		t.Errorf("%d requests arrived, want none", reached)
	}
	resp, err := post(t.Context(), NewClient(Reach{Loopback: true}), plain.URL)
	if err != nil || reached != 1 {
		t.Fatalf("a server on loopback was not reached although that is allowed: %v", err)
	}
	resp.Body.Close()
}

func TestAClientNeitherFollowsRedirectsNorUsesAProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	var paths []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	defer server.Close()
	resp, err := post(t.Context(), NewClient(Reach{Loopback: true}), server.URL+"/hook")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect || len(paths) != 1 {
		t.Errorf("status %d after requests for %v, want 307 after one", resp.StatusCode, paths)
	}
}

func post(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}
