package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Front is what every request passes first: it makes sure that the request is meant for this
// server, and knows whom it comes from. Handlers behind it find the client's address in RemoteAddr.
type Front struct {
	// Hosts are the names, without ports, that the server goes by. Requests for another name are
	// refused: a page somewhere else could have its own name point here, and browsers would take
	// this server for a part of it. Empty lets all names pass. Addresses and localhost always pass.
	Hosts []string
	// Local refuses all names but Hosts, also if there are none.
	Local bool
	// Proxies are the networks of proxies that are believed whom they pass requests on for, in
	// X-Forwarded-For.
	Proxies []netip.Prefix
	// Next serves what passes.
	Next http.Handler
}

// ServeHTTP refuses a request, or passes it on.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !f.mine(r.Host) {
		WriteJSON(w, http.StatusMisdirectedRequest, map[string]any{"error": map[string]string{
			"code": "wrong_host", "message": "this server does not go by the name in the Host header; --hosts names those it does",
		}})
		return
	}
	if len(r.TransferEncoding) > 0 {
		// A proxy that went by a Content-Length beside it takes what follows for the rest of the
		// body. It must not become a request that the proxy never saw.
		w.Header().Set("Connection", "close")
	}
	if len(f.Proxies) > 0 {
		r.RemoteAddr = f.client(r)
	}
	f.Next.ServeHTTP(w, r)
}

// mine reports whether the server goes by a name.
func (f *Front) mine(host string) bool {
	if len(f.Hosts) == 0 && !f.Local {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" || host == "" {
		return true
	}
	return slices.Contains(f.Hosts, host)
}

// client is the address of the client of a request: that of the connection or, if this is a
// proxy's, the last one in X-Forwarded-For that is no proxy's. What is before that was written by
// the client.
func (f *Front) client(r *http.Request) string {
	at := r.RemoteAddr
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && f.isProxy(at); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = netip.AddrPortFrom(hop, 0).String()
	}
	return at
}

func (f *Front) isProxy(remote string) bool {
	at, err := netip.ParseAddrPort(remote)
	return err == nil && slices.ContainsFunc(f.Proxies, func(p netip.Prefix) bool { return p.Contains(at.Addr().Unmap()) })
}

// Address is the key by which limits tell clients apart: the IP address of a RemoteAddr or, for
// IPv6, its network, since one host has many addresses of that. It is empty for what is no address.
func Address(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	if at = at.Unmap().WithZone(""); at.Is6() {
		network, _ := at.Prefix(64)
		at = network.Addr()
	}
	return at.String()
}
