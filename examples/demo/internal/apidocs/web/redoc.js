// Lets ReDoc take the page over, if its bundle has loaded; if not, the reference
// that the server wrote stays as it is.
if (window.Redoc) {
  const sans = 'system-ui, -apple-system, "Segoe UI", sans-serif';
  const mono = 'ui-monospace, "SF Mono", Menlo, monospace';
  const options = {
    disableSearch: true, // its worker would need a wider policy
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
    document.body.style.margin = 0;
    container.hidden = false;
  });
}
