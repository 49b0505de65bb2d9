// Swagger on /api/docs: in the theme of the other pages, and able to try calls as who is signed in.
{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dress = () => {
    const theme = root.dataset.theme ?? (system.matches ? "dark" : "light");
    root.classList.toggle("dark-mode", theme === "dark");
  };
  dress();
  system.addEventListener("change", dress);

  const { schema, csrf } = document.getElementById("swagger-ui").dataset;
  // What Swagger leaves out for screen readers and keyboards: a landmark, a heading, names, focus.
  const headed = () => ({
    wrapComponents: {
      InfoContainer: (Original, { React }) => (props) =>
        React.createElement(
          "section",
          { "aria-label": "About the API" },
          React.createElement(Original, props),
          React.createElement("h2", { className: "heading" }, "Calls"),
        ),
    },
  });
  const mend = () => {
    const popup = document.querySelector(".modal-ux");
    for (const [name, value] of [["role", "dialog"], ["aria-modal", "true"], ["aria-label", "Authorize"]]) {
      popup?.setAttribute(name, value);
    }
    document.querySelector(".close-modal")?.setAttribute("aria-label", "Close");
    for (const body of document.querySelectorAll(".body-param__text")) body.ariaLabel = "Body";
    for (const code of document.querySelectorAll("pre.microlight")) code.tabIndex = 0;
  };
  new MutationObserver(mend).observe(root, { childList: true, subtree: true });

  SwaggerUIBundle({
    url: schema,
    dom_id: "#swagger-ui",
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [headed],
    layout: "BaseLayout",
    requestInterceptor: (request) => {
      const ours = new URL(request.url, location.href).origin === location.origin;
      if (ours && !["GET", undefined].includes(request.method)) request.headers["X-CSRFToken"] = csrf;
      return request;
    },
  });
}
