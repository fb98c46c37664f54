// Runs in CloudFront before each request (event type viewer-request, runtime cloudfront-js-2.0).
// It is shown method, path, query and headers, never a request's body.
var SHARED_HOST = @SHARED_HOST@;
var AUTODISCOVER = @AUTODISCOVER@;

function answer(statusCode, statusDescription, contentType, data) {
  return {
    statusCode: statusCode,
    statusDescription: statusDescription,
    headers: {
      'content-type': { value: contentType },
      'cache-control': { value: 'no-store' },
    },
    body: { encoding: 'text', data: data },
  };
}

function domainOf(request) {
  // CloudFront accepts only the distribution's own names; the pattern keeps markup out all the same.
  var host = request.headers.host ? request.headers.host.value.toLowerCase() : '';
  var match = /^(?:autoconfig|autodiscover|mta-sts)\.([a-z0-9-]+(?:\.[a-z0-9-]+)+)$/.exec(host);
  return match ? match[1] : null;
}

function outlook(request, domain, path) {
  if (path === '/autodiscover/autodiscover.xml') {
    var xml = AUTODISCOVER.split('HOST.invalid').join(SHARED_HOST || 'mail.' + domain);
    return answer(200, 'OK', 'text/xml; charset=utf-8', xml.split('DOMAIN.invalid').join(domain));
  }
  var asked = request.querystring.protocol || request.querystring.Protocol;
  if (asked && asked.value.toLowerCase() === 'autodiscoverv1') {
    return answer(200, 'OK', 'application/json', JSON.stringify({
      Protocol: 'AutodiscoverV1',
      Url: 'https://autodiscover.' + domain + '/autodiscover/autodiscover.xml',
    }));
  }
  return answer(400, 'Bad Request', 'application/json', JSON.stringify({
    ErrorCode: 'InvalidProtocol',
    ErrorMessage: 'The only protocol here is AutodiscoverV1.',
  }));
}

function handler(event) {
  var request = event.request;
  var path = request.uri.toLowerCase();
  var domain = domainOf(request);
  if (domain && /^\/autodiscover\/autodiscover\.(?:xml|json)$/.test(path)) {
    if (request.method === 'POST' || path.slice(-5) === '.json') {
      return outlook(request, domain, path);
    }
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return answer(405, 'Method Not Allowed', 'text/plain', 'GET and HEAD only.\n');
  }
  request.uri = path === '/' ? '/index.html' : path;
  return request;
}
