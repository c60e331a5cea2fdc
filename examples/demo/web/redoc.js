// Lets ReDoc take the page over, if its bundle has loaded; if not, the reference
// that the server wrote stays as it is. The nonce is for the style elements that
// ReDoc makes: the page's Content-Security-Policy takes no others.
if (window.Redoc) {
  const nonce = document.currentScript.nonce;
  const sans = 'system-ui, -apple-system, "Segoe UI", sans-serif';
  const mono = 'ui-monospace, "SF Mono", Menlo, monospace';
  const options = {
    nonce,
    disableSearch: true, // its worker would need a wider policy
    hideDownloadButton: false,
    requiredPropsFirst: true,
    theme: {
      typography: {
        fontFamily: sans,
        headings: { fontFamily: sans },
        code: { fontFamily: mono },
      },
    },
  };
  const container = document.getElementById("redoc");
  Redoc.init("/openapi.json", options, container, (error) => {
    if (error) {
      return;
    }
    document.getElementById("reference").remove();
    document.getElementById("reference-style").remove();
    container.hidden = false;
  });
}
