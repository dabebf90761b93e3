package web

import "testing"

// BenchmarkViews is what a view costs the server.
func BenchmarkViews(b *testing.B) {
	for name, path := range map[string]string{"home": "/", "overview": "/?app=acme/chat", "groups": "/?app=acme/chat&view=groups", "message": "/?app=acme/chat&view=message&id=m1"} {
		b.Run(name, func(b *testing.B) {
			browser := newBrowser(b, filled())
			for range maxSamples + 1 {
				browser.server.advance(sampleEvery)
				browser.page.samples.take()
			}
			browser.signIn()
			b.ReportAllocs()
			for b.Loop() {
				browser.get(path, 200)
			}
		})
	}
}
